"""Personas: who answers, as small TOML files.

    title = "Tutor"
    description = "Explains step by step and asks back."
    system = "You are a patient tutor. …"
    model = "…"            # optional: the model that this persona answers with

    [sampling]             # optional: temperature, top_p, top_k, min_p, repetition_penalty, max_tokens, seed, stop
    temperature = 0.7

The file's name is the persona's. One of the user's own replaces the one of that name that the program ships; a file
that cannot be read is reported with its line and left out, and breaks no other.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from chatbot.engine.protocol import Sampling
from chatbot.errors import InvalidInput, NotFound
from chatbot.files import package_folder

_NAME = re.compile(r"[\w-]{1,64}")
_LARGEST = 256 * 1024  # bytes


@dataclass(frozen=True, slots=True)
class Persona:
    """Who answers."""

    name: str
    title: str
    description: str
    system: str
    sampling: Sampling = field(default_factory=Sampling)
    model: str = ""
    own: bool = False
    """The user's own file, not one that the program ships."""


class _SamplingFile(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    temperature: float | None = Field(None, ge=0, le=5)
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=0)
    min_p: float | None = Field(None, ge=0, le=1)
    repetition_penalty: float | None = Field(None, gt=0, le=10)
    max_tokens: int | None = Field(None, ge=1)
    seed: int | None = Field(None, ge=0)
    stop: list[str] = Field(default_factory=list)


class _PersonaFile(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    title: str = ""
    description: str = ""
    system: str
    model: str = ""
    sampling: _SamplingFile = _SamplingFile()


class Personas:
    """The personas of this user. Files are read when they are asked for, so that an edit counts at once."""

    def __init__(self, own: Path) -> None:
        self._own = own

    def list(self) -> Sequence[Persona]:
        """Every persona that can be read: `default` first, then by title."""
        return self._read()[0]

    @property
    def problems(self) -> Sequence[str]:
        """What is wrong with files that cannot be read, each with its line."""
        return [*self._read()[1].values()]

    def find(self, name: str) -> Persona:
        """Raises NotFound, which tells if a file of that name is broken."""
        found, problems = self._read()
        for persona in found:
            if persona.name == name:
                return persona
        if name in problems:
            raise NotFound(problems[name], hint="Mend the file, or choose another persona.")
        names = ", ".join(persona.name for persona in found)
        raise NotFound(f"There is no persona {name!r}.", hint=f"There are: {names}.")

    def _read(self) -> tuple[Sequence[Persona], dict[str, str]]:
        found: dict[str, Persona] = {}
        problems: dict[str, str] = {}
        for folder, own in ((package_folder("data") / "personas", False), (self._own, True)):
            for path in sorted(folder.glob("*.toml")):
                try:
                    found[path.stem] = _read_persona(path, own)
                except ValueError as error:
                    problems[path.stem] = str(error)
        personas = sorted(found.values(), key=lambda item: (item.name != "default", item.title.casefold()))
        return personas, problems


def _read_persona(path: Path, own: bool) -> Persona:
    """Raises ValueError with the file, the line and what is wrong."""
    if not _NAME.fullmatch(path.stem):
        raise ValueError(f"{path}: a persona's name is made of letters, digits, - and _.")
    try:
        data = path.read_bytes()[: _LARGEST + 1]
        if len(data) > _LARGEST:
            raise ValueError(f"{path}: longer than {_LARGEST // 1024} KiB.")
        text = data.decode("utf-8")
        content = tomllib.loads(text)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ValueError(f"{path}, line {line}: not UTF-8 text.") from None
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path}: {error}.") from None
    try:
        parsed = _PersonaFile.model_validate(content)
    except ValidationError as error:
        complaint = error.errors()[0]
        keys = [str(key) for key in complaint["loc"]]
        reason = "there is no such key" if complaint["type"] == "extra_forbidden" else complaint["msg"]
        place = f", line {line}" if (line := _find_line(text, keys)) else ""
        raise ValueError(f"{path}{place}: {'.'.join(keys)}: {reason}.") from None
    values: dict[str, Any] = parsed.sampling.model_dump()
    try:
        sampling = Sampling(**{**values, "stop": tuple(values["stop"])})
    except InvalidInput as error:
        raise ValueError(f"{path}: sampling: {error.message}") from None
    return Persona(
        name=path.stem,
        title=parsed.title or path.stem,
        description=parsed.description,
        system=parsed.system.strip(),
        sampling=sampling,
        model=parsed.model,
        own=own,
    )


def _find_line(text: str, keys: list[str]) -> int:
    """The line that sets the key, 0 if it is not there."""
    key = next((key for key in reversed(keys) if not key.isdigit()), "")
    for number, line in enumerate(text.splitlines(), 1):
        if re.match(rf"\s*\[?\s*{re.escape(key)}\s*(=|\])", line):
            return number
    return 0
