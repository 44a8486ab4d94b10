"""Which files a corpus is made of: those that are named, and those below folders, in the order of their names.

Hidden files and links below a folder are passed over: neither is what somebody meant who named the folder. A licence
that lies beside the files is read as one and is no document.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from chatbot.admin.corpus.drafts import Intake
from chatbot.admin.corpus.licences import is_licence
from chatbot.admin.corpus.unpacking import PACKED
from chatbot.errors import InvalidInput
from chatbot.text import printable_line

_NAME = 200  # characters of a name that are kept


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file to read. `name` is how its documents call it: without the folders above the one that was named."""

    path: Path
    name: str
    root: Path
    """The highest folder in which its licence may lie."""
    size: int
    wanted: bool
    """It was named itself, so that it is an error if it cannot be read."""

    @property
    def kind(self) -> str:
        """Its suffix in small letters, without that of what it is packed with."""
        path = self.path
        if path.suffix.lower() in PACKED:
            path = path.with_suffix("")
        return path.suffix.lower()

    @property
    def is_packed(self) -> bool:
        return self.path.suffix.lower() in PACKED


def list_sources(paths: Sequence[Path], intake: Intake) -> list[SourceFile]:
    """Each file once. Raises InvalidInput for a path that is not there or cannot be read."""
    found: dict[Path, SourceFile] = {}
    for path in paths:
        try:
            if path.is_dir():
                for source in _walk(path, intake):
                    found.setdefault(source.path.resolve(), source)
            else:
                size = path.stat().st_size
                source = SourceFile(path, _name(path.name), path.parent, size, wanted=True)
                found.setdefault(path.resolve(), source)
        except FileNotFoundError:
            raise InvalidInput(printable_line(f"There is no file or folder {path}."), hint="Check the path.") from None
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise InvalidInput(printable_line(f"{path} cannot be read: {reason}.")) from None
    return list(found.values())


def _walk(folder: Path, intake: Intake) -> Iterator[SourceFile]:
    if not os.access(folder, os.R_OK | os.X_OK):
        raise PermissionError(13, "Permission denied")

    def tell(error: OSError) -> None:
        intake.pass_over(_name(os.path.relpath(str(error.filename), folder)), f"cannot be read: {error.strerror}")

    for parent, folders, names in os.walk(folder, onerror=tell):
        folders[:] = sorted(one for one in folders if not one.startswith("."))
        for name in sorted(names):
            path = Path(parent, name)
            if name.startswith(".") or path.is_symlink() or is_licence(path):
                continue
            shown = _name(str(path.relative_to(folder)))
            if not path.is_file():
                intake.pass_over(shown, "is no file")
                continue
            yield SourceFile(path, shown, folder, path.stat().st_size, wanted=False)


def _name(name: str) -> str:
    return printable_line(name, _NAME)
