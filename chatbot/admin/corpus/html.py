"""The main text of an HTML page, without menus, advertisements and footers, by trafilatura (Barbaresi 2021)."""

from __future__ import annotations

import re
from typing import IO

from chatbot.admin.corpus.decoding import HINT
from chatbot.admin.corpus.licences import shorten
from chatbot.admin.corpus.quiet import hush
from chatbot.errors import InvalidInput

LARGEST = 16 << 20
"""Bytes of a page; its tree takes some twenty times as much memory."""
_DECLARED = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([A-Za-z0-9._:-]{1,40})", re.IGNORECASE)
_HEAD = 4096


def read_html(file: IO[bytes], encoding: str = "") -> tuple[str, str]:
    """The text of a page and its licence, if it links to one. Raises InvalidInput."""
    data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise InvalidInput(f"is a page of more than {LARGEST >> 20} MB", hint="Save its text as a .txt file.")
    page = _decode(data, encoding)
    with hush("trafilatura", "htmldate", "courlan", "justext"):
        from trafilatura import extract, html2txt
        from trafilatura.metadata import extract_metadata

        try:
            text = extract(page, include_comments=False, deduplicate=False) or html2txt(page)
            about = extract_metadata(page)
        except Exception as error:  # it is handed the worst of the web  # noqa: BLE001
            raise InvalidInput(f"cannot be read as HTML: {type(error).__name__}") from None
    if not (text or "").strip():
        raise InvalidInput("is a page without text")
    return str(text), shorten(str(getattr(about, "license", None) or ""))


def _decode(data: bytes, encoding: str) -> str:
    """As browsers do: what is asked for, a mark, what the page declares; UTF-8 before all that it only declares."""
    declared = _DECLARED.search(data[:_HEAD])
    marked = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    tried = [encoding] if encoding else [marked, *([declared[1].decode()] if declared else [])]
    for name in tried:
        try:
            return data.decode(name)
        except (UnicodeError, LookupError):
            continue
    if not encoding:
        from charset_normalizer import from_bytes

        best = from_bytes(data[: 1 << 18]).best()
        if best is not None:
            return data.decode(best.encoding, "replace")
    raise InvalidInput("is in an unknown encoding", hint=HINT)
