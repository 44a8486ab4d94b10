"""The manifest of a model on disk: what it is, where it came from, and the sha256 of every file.

It is written last, so a folder with a manifest is a whole model. It names each file that belongs to the model; a file
that it does not name is not the model's and is never read.

An adapter is a model too: some small matrices that change a base model, which its manifest names with its content's
sha256, because on any other base they would make noise. An adapter is believed for where it comes from, so its manifest
carries a seal over itself, written with it; one without is damaged.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    computed_field,
    model_validator,
)

from chatbot.errors import InvalidInput, ModelDamaged
from chatbot.text import printable_line

MANIFEST = "manifest.json"
ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
ADAPTER_FILES = frozenset({ADAPTER_CONFIG, ADAPTER_WEIGHTS})
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_MAX_MANIFEST = 4 << 20  # bytes

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
ModelKind = Literal["base", "adapter"]


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
    """Where it came from, as a person would write it: hub:org/name, package:name==1.0, folder:…, gguf:…, run:…"""
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
    answers: Literal["chat", "text"] = "chat"
    """`text` if it was trained on text alone: it goes on with what it reads. An adapter can teach it the template."""
    created: str
    """UTC, ISO 8601."""
    files: tuple[FileRecord, ...]
    kind: ModelKind = "base"
    base: str = ""
    """Of an adapter: the name of the model that it changes. Architecture, dtype, context, licence and template are that
    model's, the parameters its own."""
    base_sha256: Sha256 | Literal[""] = ""
    tokenizer_sha256: Sha256 | Literal[""] = ""
    """Of the base model's tokenizer.json."""

    @model_validator(mode="after")
    def _check_base(self) -> Self:
        named = [bool(value) for value in (self.base, self.base_sha256, self.tokenizer_sha256)]
        if self.kind == "adapter" and not all(named):
            raise ValueError("an adapter must name its base, base_sha256 and tokenizer_sha256")
        if self.kind == "base" and any(named):
            raise ValueError("a base model has no base of its own")
        return self

    @computed_field  # type: ignore[prop-decorator]  # pydantic's own way
    @property
    def seal(self) -> str:
        """Of an adapter: a digest of everything else here, so that a flipped bit is seen in the manifest too."""
        return _seal(self.model_dump(mode="json", exclude={"seal"})) if self.kind == "adapter" else ""

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
        content = path.read_bytes()
        manifest = Manifest.model_validate_json(content)
        if (manifest.kind == "adapter" or b'"seal"' in content) and not _is_sealed(content):
            raise ModelDamaged(f"{path} is damaged: its seal is not that of its content.")
        return manifest
    except FileNotFoundError:
        raise ModelDamaged(f"{path} is missing, so {folder} is no model.") from None
    except OSError as error:
        raise ModelDamaged(f"{path} cannot be read: {error.strerror}.") from None
    except ValidationError as error:
        complaint = error.errors()[0]
        place = ".".join(str(key) for key in complaint["loc"])
        raise ModelDamaged(printable_line(f"{path} is damaged: {place or 'JSON'}: {complaint['msg']}.", 300)) from None


def _seal(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _is_sealed(content: bytes) -> bool:
    """Of the text as it was written, not as it was understood: a key that is not known is damage too."""
    said = json.loads(content)
    seal = said.pop("seal", None)
    return bool(seal == "" and said.get("kind") == "base") or bool(seal == _seal(said))


def check_name(name: str) -> str:
    """`name` if it can be that of a model: it is also the name of a folder. Raises InvalidInput."""
    if not _NAME.fullmatch(name) or ".." in name:
        raise InvalidInput(
            f"{printable_line(name, 60)!r} cannot be the name of a model.",
            hint="A name has letters, digits, '.', '_' and '-', and begins with a letter or digit.",
        )
    return name
