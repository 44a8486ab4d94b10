"""The manifest of a model on disk: what it is, where it came from, and the sha256 of every file.

It is written last, so a folder with a manifest is a whole model. It names each file that belongs to the model; a file
that it does not name is not the model's and is never read.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from chatbot.errors import InvalidInput, ModelDamaged
from chatbot.text import printable_line

MANIFEST = "manifest.json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_MAX_MANIFEST = 4 << 20  # bytes

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class FileRecord(BaseModel):
    """One file of a model."""

    model_config = ConfigDict(frozen=True)

    path: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*$", max_length=200)]
    """A plain name: the files of a model lie in one folder."""
    size: int = Field(ge=0)
    sha256: Sha256


class Manifest(BaseModel):
    """What manifest.json says."""

    model_config = ConfigDict(frozen=True, protected_namespaces=())

    format: Literal[1] = 1
    name: str
    source: str
    """Where it came from, as a person would write it: hub:org/name, package:name==1.0, folder:…, gguf:…"""
    revision: str = ""
    """The commit of a hub repository; the sha256 of what else it came from; empty for a folder."""
    licence: str = ""
    architecture: str
    """The class in transformers, such as LlamaForCausalLM."""
    dtype: str
    """The number format of the stored weights."""
    parameters: int = Field(ge=1)
    context: int = Field(ge=1)
    """The window in tokens."""
    template_sha256: Sha256
    created: str
    """UTC, ISO 8601."""
    files: tuple[FileRecord, ...]

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(file.size for file in self.files)

    @property
    def sha256(self) -> str:
        """Identifies the model's content, whatever its name: a digest over the names and hashes of its files."""
        lines = sorted(f"{file.sha256}  {file.path}\n" for file in self.files)
        return hashlib.sha256("".join(lines).encode()).hexdigest()


def read_manifest(folder: Path) -> Manifest:
    """Raises ModelDamaged naming the file if it is missing, unreadable or of a newer format."""
    path = folder / MANIFEST
    try:
        if path.stat().st_size > _MAX_MANIFEST:
            raise ModelDamaged(f"{path} is damaged: it is too large for a manifest.")
        return Manifest.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise ModelDamaged(f"{path} is missing, so {folder} is no model.") from None
    except OSError as error:
        raise ModelDamaged(f"{path} cannot be read: {error.strerror}.") from None
    except ValidationError as error:
        complaint = error.errors()[0]
        place = ".".join(str(key) for key in complaint["loc"])
        raise ModelDamaged(printable_line(f"{path} is damaged: {place or 'JSON'}: {complaint['msg']}.", 300)) from None


def check_name(name: str) -> str:
    """`name` if it can be that of a model: it is also the name of a folder. Raises InvalidInput."""
    if not _NAME.fullmatch(name) or ".." in name:
        raise InvalidInput(
            f"{printable_line(name, 60)!r} cannot be the name of a model.",
            hint="A name has letters, digits, '.', '_' and '-', and begins with a letter or digit.",
        )
    return name
