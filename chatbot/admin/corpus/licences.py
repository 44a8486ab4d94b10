"""Which licence a text has, as far as files say it themselves: from the words of a LICENSE beside them."""

from __future__ import annotations

import re
from pathlib import Path

from chatbot.text import printable_line

UNKNOWN = "unknown"
_FILE = re.compile(r"(?:licen[cs]e|copying|unlicense)(?:[.-](?:txt|md|rst))?", re.IGNORECASE)
_MOST = 1 << 14  # bytes of a licence that are read: its title and first clauses
_LONGEST = 120
_KNOWN = (
    (r"\bapache license,? version 2", "Apache-2.0"),
    (r"gnu affero general public license.{0,80}version 3", "AGPL-3.0"),
    (r"gnu lesser general public license.{0,80}version 3", "LGPL-3.0"),
    (r"gnu general public license.{0,80}version 3", "GPL-3.0"),
    (r"gnu general public license.{0,80}version 2", "GPL-2.0"),
    (r"gnu free documentation license", "GFDL"),
    (r"mozilla public license,? version 2", "MPL-2.0"),
    (r"creative commons cc0|cc0 1\.0 universal", "CC0-1.0"),
    (r"attribution-noncommercial-sharealike (\d\.\d)", r"CC-BY-NC-SA-\1"),
    (r"attribution-noncommercial-noderiv\w+ (\d\.\d)", r"CC-BY-NC-ND-\1"),
    (r"attribution-noncommercial (\d\.\d)", r"CC-BY-NC-\1"),
    (r"attribution-noderiv\w+ (\d\.\d)", r"CC-BY-ND-\1"),
    (r"attribution-share ?alike (\d\.\d)", r"CC-BY-SA-\1"),
    (r"creative commons attribution (\d\.\d)|\battribution (4\.0) international", r"CC-BY-\1\2"),
    (r"this is free and unencumbered software released into the public domain", "Unlicense"),
    (r"permission is hereby granted, free of charge", "MIT"),
    (r"redistributions? of source code must retain.{0,900}neither the name", "BSD-3-Clause"),
    (r"redistributions? of source code must retain", "BSD-2-Clause"),
    (r"\bpublic domain\b", "public domain"),
)


def is_licence(path: Path) -> bool:
    """Whether a file is one by its name."""
    return _FILE.fullmatch(path.name) is not None


def find_licence(folder: Path, root: Path) -> str:
    """The licence beside files of `folder` or above it up to `root`; empty if there is none or it is not known."""
    for place in (folder, *folder.parents):
        try:
            named = sorted(path for path in place.iterdir() if is_licence(path) and path.is_file())
            for path in named:
                with path.open("rb") as file:
                    if found := recognise(file.read(_MOST).decode("utf-8", "replace")):
                        return found
        except OSError:
            pass
        if place == root:
            break
    return ""


def recognise(text: str) -> str:
    """The short name of a licence by its words."""
    words = " ".join(text.lower().split())
    for pattern, name in _KNOWN:
        if match := re.search(pattern, words):
            return match.expand(name) if "\\" in name else name
    return ""


def shorten(text: str) -> str:
    """A licence as it is kept with a document: one line."""
    return printable_line(text, _LONGEST)
