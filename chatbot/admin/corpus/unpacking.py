"""A file as a stream of bytes: counted for the bar, and unpacked from gzip or zstd within limits.

What is read is hostile: pipes and devices are not opened, and a packed file may unpack to so many times its size and no
more. Nothing is unpacked to the disk or into memory as a whole.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import stat
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from chatbot.errors import InvalidInput

RATIO = 200
"""How many times larger than itself a packed file may be; text packs 3 to 10 times smaller."""
ALWAYS = 64 << 20
"""Bytes that every packed file may unpack to, whatever its ratio."""
PACKED = (".gz", ".zst")
_BLOCK = 1 << 16
_FED = 1 << 10  # bytes of zstd at once: one of its blocks may be 30,000 times as large as it is packed
_WINDOW = 1 << 27

OnBytes = Callable[[int], object]


@contextlib.contextmanager
def open_bytes(path: Path, on_bytes: OnBytes | None = None) -> Iterator[IO[bytes]]:
    """The file's bytes, unpacked if its first ones say that it is packed; `on_bytes` hears how many of the disk each
    step read. Raises InvalidInput, also out of the stream."""
    # Without O_NONBLOCK, opening a pipe that nobody writes to would wait for ever.
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError:
        raise InvalidInput("is not there") from None
    except OSError as error:
        raise InvalidInput(f"cannot be read: {error.strerror}") from None
    with io.BufferedReader(_Counted(descriptor, on_bytes), _BLOCK) as file:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            raise InvalidInput("is no file")
        try:
            head = file.peek(4)[:4]
        except OSError as error:
            raise InvalidInput(f"cannot be read: {error.strerror}") from None
        allowed = max(ALWAYS, RATIO * about.st_size)
        if head[:2] == b"\x1f\x8b":
            with gzip.GzipFile(fileobj=file) as packed:
                yield io.BufferedReader(_Limited(packed.read1, allowed), _BLOCK)
        elif head == b"\x28\xb5\x2f\xfd":
            yield io.BufferedReader(_Limited(_Frames(file).read, allowed), _BLOCK)
        else:
            yield io.BufferedReader(_Limited(file.read1, 1 << 62), _BLOCK)


class _Counted(io.FileIO):
    def __init__(self, descriptor: int, on_bytes: OnBytes | None) -> None:
        super().__init__(descriptor, "rb")
        self._report = on_bytes

    def readinto(self, buffer: Any, /) -> int | None:
        count = super().readinto(buffer)
        if self._report is not None and count:
            self._report(count)
        return count


class _Limited(io.RawIOBase):
    """Bytes that `read` gives, at most `allowed`. Raises InvalidInput for what cannot be unpacked."""

    def __init__(self, read: Callable[[int], bytes], allowed: int) -> None:
        self._read, self._allowed, self._left = read, allowed, allowed

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        import zstandard

        try:
            data = self._read(len(buffer))
        except (gzip.BadGzipFile, zlib.error, EOFError, zstandard.ZstdError, MemoryError) as error:
            raise InvalidInput(f"is damaged: {error}") from None
        except OSError as error:
            raise InvalidInput(f"cannot be read: {error.strerror or error}") from None
        self._left -= len(data)
        if self._left < 0:
            raise InvalidInput(f"unpacks to more than {self._allowed:,} bytes, as a decompression bomb does")
        buffer[: len(data)] = data
        return len(data)


class _Frames:
    """The content of zstd frames one after the other; one that is cut off is an error, which their library's own stream
    does not tell."""

    def __init__(self, file: IO[bytes]) -> None:
        import zstandard

        self._file = file
        self._library = zstandard.ZstdDecompressor(max_window_size=_WINDOW)
        self._frame: Any = None
        self._ready = memoryview(b"")
        self._fed = b""

    def read(self, size: int) -> bytes:
        while not self._ready:
            fed = self._fed or self._file.read(_FED)
            if not fed:
                if self._frame is not None:
                    raise EOFError("it ends in the middle")
                return b""
            if self._frame is None:
                self._frame = self._library.decompressobj()
            self._ready = memoryview(self._frame.decompress(fed))
            self._fed = b""
            if self._frame.eof:
                self._fed, self._frame = self._frame.unused_data, None
        piece, self._ready = self._ready[:size], self._ready[size:]
        return bytes(piece)
