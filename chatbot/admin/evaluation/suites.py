"""Suites: questions with one right answer and some wrong ones, of which a model is asked to find the right likelier.

`general` watches whether training made a model forget what it knew, `safety` whether it still refuses what it should,
and answers what only sounds dangerous. Right and wrong are alike in length and tone, so that a model cannot win by
liking short answers or polite ones. A line of the file:

    {"id": "facts-en-01", "area": "facts", "prompt": "…", "right": "…", "wrong": ["…", "…"]}

A suite's version is the hash of its file: figures of two versions are never compared.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from chatbot.errors import InvalidInput
from chatbot.files import package_folder
from chatbot.text import printable_line

_NAME = re.compile(r"[A-Za-z0-9][\w-]{0,63}", re.ASCII)
_LARGEST = 16 << 20  # bytes of a file
_MOST = 10_000  # items
_SHORT = 12  # characters of the hash

_Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
_Text = Annotated[str, StringConstraints(min_length=1, max_length=10_000, pattern=r"\S")]


class SuiteItem(BaseModel):
    """One question."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    id: _Name
    area: _Name
    prompt: _Text
    right: _Text
    wrong: Annotated[tuple[_Text, ...], Field(min_length=1, max_length=9, strict=False)]

    @model_validator(mode="after")
    def _differ(self) -> SuiteItem:
        if len({self.right, *self.wrong}) != 1 + len(self.wrong):
            raise ValueError("two of the answers are the same")
        return self


@dataclass(frozen=True, slots=True)
class Suite:
    """The items in the order of the file."""

    name: str
    version: str
    """The beginning of the file's sha256."""
    items: tuple[SuiteItem, ...]


def load_suite(source: str | Path) -> Suite:
    """The suite of that name, one of those that the program ships, or that of a file, given as a path.

    Raises InvalidInput, naming the file and the line.
    """
    path = _find(source)
    try:
        if path.exists() and not path.is_file():  # to open a pipe would wait for ever
            raise InvalidInput(f"{_show(path)} is not a file.")
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
    except OSError as error:
        raise InvalidInput(f"{_show(path)} cannot be read: {error.strerror}.") from None
    except ValueError:  # a NUL in the name
        raise InvalidInput(f"{_show(path)} is no name of a file.") from None
    if len(data) > _LARGEST:
        raise InvalidInput(f"{_show(path)} is larger than {_LARGEST >> 20} MiB, too large for a suite.")
    items: dict[str, SuiteItem] = {}
    for number, line in enumerate(data.split(b"\n"), 1):
        if not line.strip():
            continue
        item = _read_item(path, number, line)
        if item.id in items:
            raise InvalidInput(f"{_show(path)}, line {number}: the id {item.id} stands there twice.")
        if len(items) == _MOST:
            raise InvalidInput(f"{_show(path)}, line {number}: there are more than {_MOST:,} items.")
        items[item.id] = item
    if not items:
        raise InvalidInput(f"{_show(path)} holds no items.")
    return Suite(path.stem, hashlib.sha256(data).hexdigest()[:_SHORT], tuple(items.values()))


def list_suite_prompts() -> list[str]:
    """The prompts of all suites that the program ships: what nothing that is trained on may be like, lest a suite
    measure what was learnt by heart."""
    names = sorted(path.stem for path in _find_folder().glob("*.jsonl"))
    return [item.prompt for name in names for item in load_suite(name).items]


def _find_folder() -> Path:
    return package_folder("data") / "evaluation"


def _find(source: str | Path) -> Path:
    if isinstance(source, Path):
        return source
    folder = _find_folder()
    if _NAME.fullmatch(source):
        path = folder / f"{source}.jsonl"
        if path.is_file():
            return path
    elif Path(source).suffix:
        return Path(source)
    names = ", ".join(sorted(path.stem for path in folder.glob("*.jsonl")))
    raise InvalidInput(
        f"There is no suite {printable_line(source, 60)!r}.", hint=f"There are {names}; any other is named by its file."
    )


def _read_item(path: Path, number: int, line: bytes) -> SuiteItem:
    try:
        return SuiteItem.model_validate_json(line)
    except ValidationError as error:
        complaint = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(key) for key in complaint["loc"])
        reason = "there is no such key" if complaint["type"] == "extra_forbidden" else complaint["msg"]
        message = printable_line(f"{place}: {reason}" if place else reason, 200)
        raise InvalidInput(f"{_show(path)}, line {number}: {message}.") from None


def _show(path: Path) -> str:
    return printable_line(str(path), 300)
