"""The tokenizers on this disk: one folder each, which transformers and our chat template load as they load a model's.

A model that is trained with a tokenizer gets a copy of its files, so that a tokenizer may be deleted without harm to
anyone. The manifest, written last, holds the sha256 of every file: a model's numbers mean nothing beside another
vocabulary than the one that they were learnt with, and a changed file would not be noticed by itself.
"""

from __future__ import annotations

import builtins
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from chatbot.admin.tokenizing.building import Kind
from chatbot.admin.tokenizing.report import TokenizerReport
from chatbot.errors import InvalidInput, LearningError, ModelDamaged, ModelError, NotFound
from chatbot.files import hash_file, sync_folder
from chatbot.models.manifest import Sha256, check_name
from chatbot.models.template import ChatTemplate
from chatbot.text import printable_line

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MANIFEST = "manifest.json"
FileName = Literal["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"]
TOKENIZER: FileName = "tokenizer.json"
CONFIG: FileName = "tokenizer_config.json"
TEMPLATE: FileName = "chat_template.jinja"
FILES: tuple[FileName, ...] = (TOKENIZER, CONFIG, TEMPLATE)
"""What a model that is trained with the tokenizer copies."""
_MOST_MANIFEST = 4 << 20  # bytes


class TokenizerManifest(BaseModel):
    """What manifest.json says."""

    model_config = ConfigDict(frozen=True)

    format: Literal[1] = 1
    name: str
    kind: Kind
    vocabulary: int = Field(ge=1)
    """Tokens, the special ones included."""
    asked: int = Field(0, ge=0)
    """How many were asked for; the corpus may not have had so many. 0 for characters."""
    sha256: Sha256
    """Of tokenizer.json."""
    files: dict[FileName, Sha256]
    corpus: str
    """Its title, such as novels/1."""
    corpus_sha256: str
    created: str
    """UTC, ISO 8601."""
    report: TokenizerReport


@dataclass(frozen=True, slots=True)
class TokenizerFolder:
    """A whole tokenizer on disk."""

    name: str
    path: Path
    manifest: TokenizerManifest

    @property
    def sha256(self) -> str:
        """Of tokenizer.json, which alone decides how a text is cut."""
        return self.manifest.sha256

    @property
    def vocabulary(self) -> int:
        """Tokens, the special ones included."""
        return self.manifest.vocabulary

    def load(self) -> Tokenizer:
        """The tokenizer itself. Raises ModelDamaged."""
        return self.load_template().tokenizer

    def load_template(self) -> ChatTemplate:
        """The tokenizer with the chat format. Raises ModelDamaged."""
        return ChatTemplate.load(self.path)


class TokenizerLibrary:
    """The tokenizers under `folder`, which need not exist yet."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def list(self) -> list[TokenizerFolder]:
        """Every whole tokenizer, by name."""
        return self.scan()[0]

    def scan(self) -> tuple[builtins.list[TokenizerFolder], dict[str, ModelError]]:
        """Every whole tokenizer, by name, and what is wrong with each folder that is none. Raises LearningError."""
        whole: builtins.list[TokenizerFolder] = []
        damaged: dict[str, ModelError] = {}
        try:
            names = sorted(path.name for path in self.folder.iterdir() if path.is_dir())
        except FileNotFoundError:
            names = []
        except OSError as error:
            raise LearningError(f"{self.folder} cannot be read: {error.strerror}.") from None
        for name in names:
            if name.startswith("."):  # being made, or left over from what was killed
                continue
            try:
                whole.append(self.find(name))
            except ModelError as error:
                damaged[name] = error
            except NotFound:
                continue
        return whole, damaged

    def find(self, name: str) -> TokenizerFolder:
        """The tokenizer `name`, each of its files as its manifest says. Raises NotFound, ModelDamaged."""
        path = self.locate(name)
        manifest = _read_manifest(path)
        hint = f"Delete it with `chatbot admin tokenizer delete {name}`, and train it anew."
        if set(manifest.files) != set(FILES) or manifest.files[TOKENIZER] != manifest.sha256:
            raise ModelDamaged(f"{path / MANIFEST} is damaged: it does not name the files of a tokenizer.", hint=hint)
        for file, sha256 in manifest.files.items():
            try:
                digest = hash_file(path / file)
            except OSError as error:
                raise ModelDamaged(f"{path / file} cannot be read: {error.strerror}.", hint=hint) from None
            if digest != sha256:
                raise ModelDamaged(f"{path / file} differs from its manifest.", hint=hint)
        return TokenizerFolder(name, path, manifest)

    def delete(self, name: str) -> None:
        """Deletes the tokenizer, whole or damaged. Raises NotFound; LearningError if the disk refuses."""
        path = self.locate(name)
        try:
            # Renamed first: what interrupts the removal leaves no half of a tokenizer under its name.
            grave = Path(tempfile.mkdtemp(dir=self.folder, prefix=f".{name}.removed."))
            path.rename(grave / name)
            sync_folder(self.folder)
            shutil.rmtree(grave)
        except OSError as error:
            raise LearningError(f"{path} cannot be deleted: {error.strerror}.") from None

    def check_free(self, name: str) -> Path:
        """Where the tokenizer `name` is to lie. Raises InvalidInput if that is no name, or one that is taken."""
        try:
            path = self.folder / check_name(name)
        except InvalidInput as error:
            raise InvalidInput(
                f"{printable_line(name, 60)!r} cannot be the name of a tokenizer.", hint=error.hint
            ) from None
        if path.exists() or path.is_symlink():
            raise InvalidInput(
                f"There is a tokenizer {name} already.",
                hint=f"Choose another name, or delete it first with `chatbot admin tokenizer delete {name}`.",
            )
        return path

    def locate(self, name: str) -> Path:
        """The folder of the tokenizer `name`, whole or damaged. Raises NotFound."""
        hint = "`chatbot admin tokenizer list` shows those that are here."
        try:
            path = self.folder / check_name(name)
        except InvalidInput:
            raise NotFound(f"There is no tokenizer {printable_line(name, 60)!r}.", hint=hint) from None
        if path.is_symlink() or not path.is_dir():
            raise NotFound(f"There is no tokenizer {name} in {self.folder}.", hint=hint)
        return path


def _read_manifest(folder: Path) -> TokenizerManifest:
    path = folder / MANIFEST
    try:
        if path.stat().st_size > _MOST_MANIFEST:
            raise ModelDamaged(f"{path} is damaged: it is too large for a manifest.")
        return TokenizerManifest.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise ModelDamaged(f"{path} is missing, so {folder} is no tokenizer.") from None
    except OSError as error:
        raise ModelDamaged(f"{path} cannot be read: {error.strerror}.") from None
    except ValidationError as error:
        raise ModelDamaged(printable_line(f"{path} is damaged: {error.errors()[0]['msg']}.", 300)) from None
