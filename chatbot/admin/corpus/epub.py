"""The text of an EPUB in the order in which it is read: a ZIP of XHTML pages and a list that puts them in order.

All of it is hostile. Members are counted as they are unpacked, whatever their headers say; entities are not resolved
and nothing is fetched; names in the book lead to members of the ZIP and nowhere else.
"""

from __future__ import annotations

import io
import posixpath
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from chatbot.admin.corpus.licences import shorten
from chatbot.errors import InvalidInput
from chatbot.text import printable_line

LARGEST = 64 << 20
"""Bytes that the pages of a book may unpack to; the Bible has five million."""
_MOST_MEMBERS = 20_000
_MOST_PAGE = 16 << 20
_DIRECTORY = 16 << 20  # bytes of the ZIP's table of contents
_DAMAGE = (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, RuntimeError, KeyError)
_SPACED = frozenset({"article", "blockquote", "div", "figure", "h1", "h2", "h3", "h4", "h5", "h6", "p", "pre"})
_SPACED |= {"section", "table", "ul", "ol", "dl"}
_BLOCKS = _SPACED | {"address", "aside", "body", "br", "caption", "dd", "dt", "figcaption", "footer", "header", "hr"}
_BLOCKS |= {"li", "main", "nav", "tbody", "thead", "tr"}
_PASSED_OVER = frozenset({"script", "style", "head", "rt", "rp", "svg", "math", "template"})


@dataclass(frozen=True, slots=True)
class Book:
    chapters: tuple[str, ...]
    licence: str
    language: str


def read_epub(path: Path) -> Book:
    """Raises InvalidInput."""
    try:
        with _Disk(path.open("rb", buffering=0)) as file, zipfile.ZipFile(file) as archive:
            if len(archive.infolist()) > _MOST_MEMBERS:
                raise InvalidInput(f"holds more than {_MOST_MEMBERS:,} files")
            return _Archive(archive).read()
    except InvalidInput:
        raise
    except _DAMAGE as error:
        raise InvalidInput(f"is no sound EPUB: {printable_line(str(error), 200)}") from None


class _Disk(io.BufferedReader):
    """A file that is never read whole: a ZIP's table of contents is as large as its last bytes say."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0 or size > _DIRECTORY:
            size = _DIRECTORY
        return super().read(size)


class _Archive:
    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._left = LARGEST

    def read(self) -> Book:
        container = _parse_xml(self._unpack("META-INF/container.xml"))
        roots = [one.get("full-path") for one in container.iter("{*}rootfile") if one.get("full-path")]
        if not roots:
            raise InvalidInput("is no sound EPUB: it does not say where its contents stand")
        package = _parse_xml(self._unpack(roots[0]))
        folder = posixpath.dirname(roots[0])
        items = {one.get("id"): one for one in package.iter("{*}item")}
        order = [items.get(one.get("idref")) for one in package.iter("{*}itemref")]
        locked = self._list_locked()
        chapters = []
        for item in order:
            if item is None or "html" not in (item.get("media-type") or ""):
                continue
            name = posixpath.normpath(posixpath.join(folder, unquote(item.get("href") or "").split("#")[0]))
            if name in locked:
                raise InvalidInput("is encrypted (DRM), so its text cannot be read")
            if text := read_page(self._unpack(name)).strip():
                chapters.append(text + "\n\n")
        if not chapters:
            raise InvalidInput("is a book without text")
        return Book(tuple(chapters), _find(package, "rights"), _find(package, "language").split("-")[0].lower())

    def _unpack(self, name: str) -> bytes:
        about = self._archive.getinfo(name)
        if about.flag_bits & 1:
            raise InvalidInput("is encrypted, so its text cannot be read")
        if about.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            # Python unpacks a block of the other methods at once, however large it becomes.
            raise InvalidInput("is packed by a method that is not read here")
        with self._archive.open(about) as member:
            data = member.read(min(_MOST_PAGE, self._left) + 1)
        self._left -= len(data)
        if self._left < 0 or len(data) > _MOST_PAGE:
            raise InvalidInput(f"unpacks to more than {LARGEST >> 20} MB of text, as a decompression bomb does")
        return data

    def _list_locked(self) -> set[str]:
        """The members that are encrypted; books often hide their fonts so, which does not matter."""
        if "META-INF/encryption.xml" not in self._archive.namelist():
            return set()
        told = _parse_xml(self._unpack("META-INF/encryption.xml"))
        return {unquote(one.get("URI") or "") for one in told.iter("{*}CipherReference")}


def read_page(data: bytes) -> str:
    """The text of a page of XHTML: blocks on lines of their own, paragraphs parted by blank lines."""
    from lxml import etree, html

    try:
        parser = html.HTMLParser(encoding="utf-8" if _is_utf8(data) else None, no_network=True, huge_tree=False)
        root = html.document_fromstring(data, parser=parser)
    except (etree.LxmlError, ValueError):
        return ""
    return _walk(root)


def _walk(root: Any) -> str:
    """Without recursion: a page may be nested as deep as its writer liked."""
    pieces: list[str] = []
    verbatim = 0
    stack: list[tuple[Any, bool]] = [(root, False)]
    while stack:
        node, done = stack.pop()
        name = node.tag if isinstance(node.tag, str) else ""
        if done:
            verbatim -= name == "pre"
            if name != "br":
                _break(pieces, name)
            if node.tail and node is not root:
                pieces.append(node.tail if verbatim else _flatten(node.tail))
            continue
        stack.append((node, True))
        if not name or name in _PASSED_OVER:
            continue
        _break(pieces, name)
        verbatim += name == "pre"
        if node.text:
            pieces.append(node.text if verbatim else _flatten(node.text))
        stack += [(child, False) for child in reversed(node)]
    lines = [line.strip(" ") for line in "".join(pieces).split("\n")]
    text = "\n".join(lines)
    while "\n\n\n" in text:
        text = text.replace("\n\n\n", "\n\n")
    return text


def _break(pieces: list[str], name: str) -> None:
    if name in _BLOCKS:
        pieces.append("\n\n" if name in _SPACED else "\n")


def _flatten(text: str) -> str:
    """White space as a page shows it."""
    words = " ".join(text.split())
    if not words:
        return " " if text else ""
    return (" " if text[0].isspace() else "") + words + (" " if text[-1].isspace() else "")


def _parse_xml(data: bytes) -> Any:
    from lxml import etree

    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, remove_comments=True, remove_pis=True
    )
    try:
        return etree.fromstring(data, parser)
    except etree.LxmlError as error:
        raise InvalidInput(f"is no sound EPUB: {printable_line(str(error), 200)}") from None


def _find(package: Any, name: str) -> str:
    """A line of the book's description."""
    found = next(package.iter(f"{{http://purl.org/dc/elements/1.1/}}{name}"), None)
    return shorten(found.text or "") if found is not None else ""


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
