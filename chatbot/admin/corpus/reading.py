"""Documents out of files: which reader a file is for, and plain text and Markdown, which need none.

Markdown stays as it is written: its marks are what people type, and a chat shows them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from typing import IO

from chatbot.admin.corpus.decoding import decode, find_encoding
from chatbot.admin.corpus.drafts import Draft, Intake
from chatbot.admin.corpus.licences import find_licence
from chatbot.admin.corpus.request import CorpusRequest
from chatbot.admin.corpus.sources import SourceFile
from chatbot.admin.corpus.unpacking import OnBytes, open_bytes
from chatbot.errors import InvalidInput
from chatbot.text import printable_line

_HTML = {".html", ".htm", ".xhtml"}
_LINES = {".jsonl", ".ndjson"}
_BOOKS = {".epub", ".pdf"}


class Reader:
    """Reads sources as a request asks it. `on_bytes` hears how many bytes of the disk each step read."""

    def __init__(self, request: CorpusRequest, intake: Intake, on_bytes: OnBytes) -> None:
        self._request, self._intake, self._on_bytes = request, intake, on_bytes

    def read(self, source: SourceFile) -> Iterator[Draft]:
        """The documents of a file. Raises InvalidInput if it was named and cannot be read; one of a folder is passed
        over and told."""
        try:
            if not source.size:
                raise InvalidInput("is empty")
            yield from self._choose(source)(source)
            self._intake.files += 1
        except InvalidInput as error:
            if source.wanted:
                raise InvalidInput(printable_line(f"{source.path} {error.message}.", 400), hint=error.hint) from None
            self._intake.pass_over(source.name, error.message)

    def _choose(self, source: SourceFile) -> Callable[[SourceFile], Iterator[Draft]]:
        if source.kind in _BOOKS:
            return self._read_book
        if source.kind in _HTML:
            return self._read_html
        if source.kind in _LINES:
            return self._read_lines
        if source.kind == ".json":
            raise InvalidInput("is JSON", hint="Lines of JSON (.jsonl) are read; `jq -c .[]` makes them of a list.")
        return self._read_plain

    def _read_plain(self, source: SourceFile) -> Iterator[Draft]:
        encoding = find_encoding(partial(open_bytes, source.path), self._request.encoding)
        if encoding.guessed:
            self._intake.encodings[encoding.name] += 1

        def read() -> Iterator[str]:
            try:
                yield from decode(self._open(source), encoding)
            except InvalidInput as error:  # all was well a moment ago
                raise InvalidInput(printable_line(f"{source.path} {error.message}.", 400)) from None

        yield Draft(source.name, read, self._find_licence(source))

    def _read_html(self, source: SourceFile) -> Iterator[Draft]:
        from chatbot.admin.corpus.html import read_html

        with self._open(source)() as file:
            text, licence = read_html(file, self._request.encoding)
        yield Draft.of_text(source.name, text, licence=self._request.licence or licence or self._find_licence(source))

    def _read_lines(self, source: SourceFile) -> Iterator[Draft]:
        from chatbot.admin.corpus.json_lines import read_lines

        beside = self._find_licence(source)
        with self._open(source)() as file:
            for draft in read_lines(file, source.name, self._request, self._intake):
                licence = self._request.licence or draft.licence or beside
                yield Draft(draft.source, draft.read, licence, draft.language, origin=draft.origin)

    def _read_book(self, source: SourceFile) -> Iterator[Draft]:
        from chatbot.admin.corpus.epub import read_epub
        from chatbot.admin.corpus.pdf import read_pdf

        if source.is_packed:
            raise InvalidInput("is a packed book", hint="Unpack it first.")
        if source.kind == ".epub":
            book = read_epub(source.path)
            licence = self._request.licence or book.licence or self._find_licence(source)
            draft = Draft(source.name, partial(iter, book.chapters), licence, book.language)
        else:
            draft = Draft(source.name, partial(iter, read_pdf(source.path)), self._find_licence(source))
        self._on_bytes(source.size)
        yield draft

    def _open(self, source: SourceFile) -> Callable[[], AbstractContextManager[IO[bytes]]]:
        return partial(open_bytes, source.path, self._on_bytes)

    def _find_licence(self, source: SourceFile) -> str:
        return self._request.licence or find_licence(source.path.parent, source.root)
