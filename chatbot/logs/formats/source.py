"""What a path is made of: one file, the files of a folder or the members of a ZIP, each as a stream of bytes.

Nothing is ever written to disk: members of an archive are read as streams, so their names are only something to show.
What is read is hostile: links in a folder are not followed, pipes and devices are not opened (they could block for
ever), and an archive may not unpack to more than `Limits` allows, however its headers lie. Of ZIP's methods only
`stored` and `deflated` are read: Python's unpackers of the others give out as much as one block holds at once, which
can be gigabytes.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from chatbot.errors import InvalidInput
from chatbot.text import printable_line

HEAD = 256 * 1024  # bytes at the beginning of a file by which its form is recognised
_DIRECTORY = 16 << 20  # bytes of a ZIP's table of contents: over 100,000 members of usual names
_NAME = 200  # characters of a name that are shown

# All that Python's unpackers raise at bytes that are not what they should be. NotImplementedError is a RuntimeError.
_DAMAGE = (zipfile.BadZipFile, zlib.error, struct.error, OSError, EOFError, ValueError, OverflowError, RuntimeError)

OnBytes = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a hostile file may cost. Sizes in bytes."""

    members: int = 100_000
    """Files of a folder, members of an archive."""
    total: int = 64 << 30
    """What an archive unpacks to, all members together."""
    ratio: int = 200
    """How many times larger than itself an archive may unpack; conversations pack 3 to 30 times smaller."""
    unpacked: int = 64 << 20
    """What every archive may unpack to, whatever its ratio."""
    record: int = 32 << 20
    """One conversation in the file, or one line."""
    depth: int = 200
    """Lists and objects inside each other in one record."""
    parts: int = 1_000_000
    """Lists and objects in one record: each takes some hundred bytes of memory for two in the file."""


@dataclass(frozen=True, slots=True)
class OpenedFile:
    """A file to read from. `head` is its beginning, still to be read from `stream`, which is open until the next."""

    name: str
    stream: io.BufferedReader
    head: bytes
    only: bool
    """It is what the path names, not one of many."""


@dataclass(frozen=True, slots=True)
class PassedOver:
    """A file that was not read, and why. `file` may be shown: no control characters."""

    file: str
    reason: str


def measure_path(path: Path) -> int:
    """How many bytes `open_files` will report for `path`, for a bar of progress. 0 if it cannot be read."""
    try:
        if path.is_dir():
            return sum(os.lstat(file).st_size for file in _walk(path, []) if stat.S_ISREG(os.lstat(file).st_mode))
        return path.stat().st_size
    except OSError:
        return 0


def open_files(path: Path, limits: Limits, on_bytes: OnBytes | None = None) -> Iterator[OpenedFile | PassedOver]:
    """Each file at `path` in the order of names; `on_bytes` hears how many bytes of the disk each step read.

    Raises InvalidInput if `path` is missing, neither file nor folder, cannot be read or is a damaged archive; also out
    of the streams, if an archive is damaged or blows up.
    """
    report = on_bytes or _ignore
    if path.is_dir():
        yield from _open_folder(path, limits, report)
        return
    with _open_on_disk(path, report, follow=True) as file:
        if file.peek(4)[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
            yield from _open_archive(file, path, limits)
        else:
            with _unpack_gzip(file, limits) as stream:
                yield OpenedFile(printable_line(path.name, _NAME), stream, stream.peek(HEAD), only=True)


def _open_folder(folder: Path, limits: Limits, report: OnBytes) -> Iterator[OpenedFile | PassedOver]:
    unreadable: list[OSError] = []
    for number, file in enumerate(_walk(folder, unreadable)):
        if number == limits.members:
            raise InvalidInput(f"{folder} holds more than {limits.members:,} files.", hint="Import a part of it.")
        name = printable_line(str(file.relative_to(folder)), _NAME)
        try:
            with _open_on_disk(file, report, follow=False) as disk:
                if disk.peek(4)[:4] == b"PK\x03\x04":
                    for found in _open_archive(disk, file, limits):
                        if isinstance(found, OpenedFile):
                            yield replace(found, name=f"{name}/{found.name}")
                        else:
                            yield replace(found, file=f"{name}/{found.file}")
                    continue
                with _unpack_gzip(disk, limits) as stream:
                    yield OpenedFile(name, stream, stream.peek(HEAD), only=False)
        except InvalidInput as error:
            yield PassedOver(name, error.message)
    for closed in unreadable:
        name = printable_line(os.path.relpath(str(closed.filename), folder), _NAME)
        yield PassedOver(name, f"cannot be read: {closed.strerror}")


def _walk(folder: Path, unreadable: list[OSError]) -> Iterator[Path]:
    """Every file below, in a steady order; links to folders are not entered."""
    for parent, folders, names in os.walk(folder, onerror=unreadable.append):
        folders.sort()
        yield from (Path(parent, name) for name in sorted(names))


def _open_archive(file: _DiskReader, path: Path, limits: Limits) -> Iterator[OpenedFile | PassedOver]:
    budget = _Budget(file.size, limits)
    try:
        archive = zipfile.ZipFile(file)
    except _DAMAGE as error:
        raise InvalidInput(f"{path} is a damaged ZIP: {printable_line(str(error), _NAME)}.") from error
    with archive:
        members = [info for info in archive.infolist() if not info.filename.endswith("/")]
        if len(members) > limits.members:
            raise InvalidInput(f"{path} holds more than {limits.members:,} files.")
        for info in sorted(members, key=lambda info: info.filename):
            name = printable_line(info.filename, _NAME)
            if info.flag_bits & 0x1:
                yield PassedOver(name, "is encrypted; unpack it yourself and import the folder")
            elif info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                yield PassedOver(name, "is packed by a method that is not read here; unpack it and import the folder")
            else:
                try:
                    with archive.open(info) as member, _Unpacked(member, budget).buffered() as stream:
                        yield OpenedFile(name, stream, stream.peek(HEAD), only=False)
                except InvalidInput as error:
                    yield PassedOver(name, error.message)
                except _DAMAGE as error:
                    yield PassedOver(name, f"is damaged: {printable_line(str(error), _NAME)}")


@contextlib.contextmanager
def _unpack_gzip(file: _DiskReader, limits: Limits) -> Iterator[io.BufferedReader]:
    """`file` itself, or what is in it if it is packed by gzip, as large data sets are."""
    if file.peek(2)[:2] != b"\x1f\x8b":
        yield file
        return
    with gzip.GzipFile(fileobj=file) as packed, _Unpacked(packed, _Budget(file.size, limits)).buffered() as stream:
        yield stream


class _DiskReader(io.BufferedReader):
    """A file of the disk that is never read whole: a ZIP's table of contents is as large as its last bytes say."""

    def __init__(self, raw: _CountedFile, size: int) -> None:
        super().__init__(raw, HEAD)
        self.size = size

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            size = _DIRECTORY
        if size > _DIRECTORY:
            raise zipfile.BadZipFile("its table of contents is too large")
        return super().read(size)


class _CountedFile(io.FileIO):
    """Tells how far it was read; never more than its size, though a ZIP's table of contents is read twice."""

    def __init__(self, descriptor: int, size: int, report: OnBytes) -> None:
        super().__init__(descriptor, "rb")
        self._left = size
        self._report = report

    def readinto(self, buffer: bytearray | memoryview, /) -> int | None:  # type: ignore[override]
        count = super().readinto(buffer)
        self.report(count or 0)
        return count

    def report(self, count: int) -> None:
        self._report(min(count, self._left))
        self._left -= min(count, self._left)

    def close(self) -> None:
        if not self.closed:
            self.report(self._left)  # what was passed over is done, too
        super().close()


@contextlib.contextmanager
def _open_on_disk(path: Path, report: OnBytes, *, follow: bool) -> Iterator[_DiskReader]:
    """Raises InvalidInput if `path` is no regular file or cannot be read."""
    # Without O_NONBLOCK, opening a pipe that nobody writes to would wait for ever.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    if not follow:
        flags |= getattr(os, "O_NOFOLLOW", 0)
        if path.is_symlink():
            raise InvalidInput("is a link, and links are not followed")
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError as error:
        raise InvalidInput(f"There is no file or folder {path}.", hint="Check the path.") from error
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}.") from error
    about = os.fstat(descriptor)
    if not stat.S_ISREG(about.st_mode):
        os.close(descriptor)
        raise InvalidInput(f"{path} is neither a file nor a folder.")
    with _DiskReader(_CountedFile(descriptor, about.st_size, report), about.st_size) as file:
        yield file


class _Budget:
    """How much one archive may still unpack to; all its members draw on it, also those that share their bytes."""

    def __init__(self, size: int, limits: Limits) -> None:
        self.allowed = min(limits.total, max(limits.unpacked, limits.ratio * size))
        self._left = self.allowed

    def spend(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise InvalidInput(f"unpacks to more than {self.allowed:,} bytes, as a decompression bomb does")


class _Unpacked(io.RawIOBase):
    """A member of an archive, unpacked as it is read. Raises InvalidInput if it is damaged or over the budget."""

    def __init__(self, packed: IO[bytes] | gzip.GzipFile, budget: _Budget) -> None:
        self._packed = packed
        self._budget = budget

    def buffered(self) -> io.BufferedReader:
        return io.BufferedReader(self, HEAD)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        filled = 0
        try:
            while filled < len(buffer) and (data := self._packed.read(min(len(buffer) - filled, 1 << 16))):
                self._budget.spend(len(data))
                buffer[filled : filled + len(data)] = data
                filled += len(data)
        except _DAMAGE as error:
            raise InvalidInput(f"is damaged: {printable_line(str(error), _NAME)}") from error
        return filled


def _ignore(count: int) -> None:
    """Nobody asked for progress."""
