"""Which text is worth learning from: simple rules that throw away what is hardly language.

After the rules for Gopher (Rae et al. 2021, arXiv:2112.11446, appendix A1.1), with two changes. They were made for
English web pages, so what a word's length says counts only for scripts with spaces. And verse, plays and dialogues
repeat short lines (names of speakers, refrains), so repetition is measured in characters of longer lines. Text that is
too short to judge passes.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

from chatbot.logs.findings import UNSPACED

RULES = {
    "few letters": "less than half of its visible characters are letters",
    "word length": "its words have fewer than 2 or more than 12 characters on average",
    "repeated lines": "more than three tenths of its characters stand in lines that stand there before",
    "symbols": "more than one # or … for each ten words",
    "cut off": "more than three tenths of its lines end with an ellipsis",
}
"""The rules' names, and what each finds."""
SHORTEST = 200
"""Characters from which on a text is judged."""
_LETTERS = 0.5
_WORD = (2.0, 12.0)
_REPEATED = 0.3
_LINE = 20  # characters from which on a line is expected to be the only one of its kind
_SYMBOLS = 0.1
_CUT_OFF = 0.3
_FEW_LINES = 4
_DENSE = re.compile(f"[{UNSPACED}]")
_SYMBOL = re.compile(r"#+|…|\.\.\.")


def judge(text: str) -> str:
    """The name of the first rule that a text breaks, empty if it breaks none."""
    visible = "".join(text.split())
    if len(visible) < SHORTEST:
        return ""
    dense = len(_DENSE.findall(visible))
    letters = sum(map(str.isalpha, visible))
    if letters < _LETTERS * len(visible) and letters + _count_marks(visible) < _LETTERS * len(visible):
        return "few letters"
    words = text.split()
    if dense < len(visible) / 5:
        mean = len(visible) / len(words)
        if not _WORD[0] <= mean <= _WORD[1]:
            return "word length"
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    if _count_repeated(lines) > _REPEATED * len(visible):
        return "repeated lines"
    if len(_SYMBOL.findall(text)) > _SYMBOLS * max(len(words), dense):
        return "symbols"
    if len(lines) >= _FEW_LINES and sum(line.endswith(("…", "...")) for line in lines) > _CUT_OFF * len(lines):
        return "cut off"
    return ""


def _count_repeated(lines: list[str]) -> int:
    """Visible characters in longer lines beyond each one's first time."""
    times = Counter(line for line in lines if len(line) >= _LINE)
    return sum((count - 1) * len("".join(line.split())) for line, count in times.items() if count > 1)


def _count_marks(text: str) -> int:
    """Marks such as the vowel signs of Indic scripts, which belong to words as letters do."""
    return sum(not sign.isascii() and unicodedata.category(sign)[0] == "M" for sign in text)
