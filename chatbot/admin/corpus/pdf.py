"""The text of a PDF, page by page, by pypdf.

A PDF says where letters stand and not what belongs together, so tables and columns may come out jumbled; a scan has no
text at all.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from chatbot.admin.corpus.quiet import hush
from chatbot.errors import InvalidInput
from chatbot.text import storable

LARGEST = 256 << 20
_MOST_PAGES = 20_000
_MOST_TEXT = 32 << 20  # characters


def read_pdf(path: Path) -> list[str]:
    """The pages' texts. Raises InvalidInput."""
    try:
        if path.stat().st_size > LARGEST:
            raise InvalidInput(f"is a PDF of more than {LARGEST >> 20} MB", hint="Save its text as a .txt file.")
    except OSError as error:
        raise InvalidInput(f"cannot be read: {error.strerror}") from None
    with hush("pypdf"):
        import pypdf

        try:
            with path.open("rb") as file:
                reader = pypdf.PdfReader(file, strict=False)
                if reader.is_encrypted and not reader.decrypt(""):
                    raise InvalidInput("is encrypted", hint="Save it without a password first.")
                if len(reader.pages) > _MOST_PAGES:
                    raise InvalidInput(f"has more than {_MOST_PAGES:,} pages")
                pages = _read_pages(reader)
        except InvalidInput:
            raise
        except Exception as error:  # pypdf meets hostile files with whatever Python raises  # noqa: BLE001
            raise InvalidInput(f"cannot be read as PDF: {type(error).__name__}") from None
    if not pages:
        raise InvalidInput("is a PDF without text (a scan?)", hint="Recognise its text first, with OCR.")
    return pages


def _read_pages(reader: Any) -> list[str]:
    pages: list[str] = []
    size = 0
    for page in reader.pages:
        if text := storable(page.extract_text()).strip():
            size += len(text)
            if size > _MOST_TEXT:
                raise InvalidInput(f"has more than {_MOST_TEXT:,} characters", hint="Save its text as a .txt file.")
            pages.append(text + "\n\n")
    return pages
