"""Which language a text is in: by its script where that decides, else by py3langid's model of 97 languages."""

from __future__ import annotations

import re
from typing import Any

from chatbot.admin.datasets.statistics import find_language as find_script

_DECIDED = frozenset({"zh", "ja", "ko", "th", "he", "el", "other"})
_MOST = 1000  # characters looked at
_FEWEST = 20  # letters; fewer words than these have are in several languages
_CODE = re.compile(r"[a-z]{2,3}")
_LETTERS = re.compile(r"[^\W\d_]")


def find_language(text: str) -> str:
    """An ISO 639-1 code; `latin`, `ru` and the like, which are scripts, for what is too short; `other` without letters.
    The middle of a text is looked at, where no heading or licence stands."""
    start = max((len(text) - _MOST) // 2, 0)
    sample = text[start : start + _MOST]
    script = find_script(sample)
    if script in _DECIDED or len(_LETTERS.findall(sample)) < _FEWEST:
        return script
    return str(_classify(sample))


def shorten_code(told: str) -> str:
    """The language of what a file says: `en` of EN and en-US; empty, so that it is found out, of what is no code."""
    code = re.split("[-_]", told, maxsplit=1)[0].lower()
    return code if _CODE.fullmatch(code) and code != "und" else ""


def _classify(sample: str) -> Any:
    import py3langid

    code = py3langid.classify(sample)[0]
    return "other" if code == "zxx" else code  # no language at all
