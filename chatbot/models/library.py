"""The models on this disk.

Each is a folder under <home>/models with the files that transformers reads (config.json, *.safetensors,
tokenizer.json, chat_template.jinja, generation_config.json) and a manifest. Finding one checks cheaply that every file
is there with the right size; `find_verified`, for whoever loads the weights, hashes everything, because flipped bits
load without a word and make a model that talks nonsense. Nothing remembers that a file was sound: a disk rots without
touching the times of its files, and hashing takes 0.2 s for 273 MB, less than loading them.

An adapter lies there in the same way, with adapter_config.json and adapter_model.safetensors. It is found only together
with the very base model that it was trained on.
"""

from __future__ import annotations

import builtins
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from chatbot.errors import InvalidInput, ModelDamaged, ModelError, ModelNotFound
from chatbot.files import hash_file, sync_folder
from chatbot.models.manifest import ADAPTER_FILES, MANIFEST, Manifest, ModelKind, check_name, read_manifest
from chatbot.models.template import ChatTemplate
from chatbot.text import printable_line


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A whole model on disk: a base model, or an adapter with its base."""

    name: str
    path: Path
    manifest: Manifest
    base: ModelFolder | None = None
    """Of an adapter: the model that it changes."""

    @property
    def kind(self) -> ModelKind:
        return self.manifest.kind

    @property
    def foundation(self) -> ModelFolder:
        """The base model, itself if it is one: its folder has the tokenizer, the template and the settings."""
        return self.base or self

    @property
    def context(self) -> int:
        """The window in tokens."""
        return self.foundation.manifest.context

    @property
    def sha256(self) -> str:
        """Identifies the model's content: weights, tokenizer, template and configuration."""
        return self.manifest.sha256

    @property
    def template_sha(self) -> str:
        return self.manifest.template_sha256

    def load_template(self, *, answering: bool = False) -> ChatTemplate:
        """The tokenizer and chat format, in a fraction of a second; with `answering` what it answers in, which is no
        chat if nobody taught it one. Raises ModelDamaged."""
        template = ChatTemplate.load(self.foundation.path)
        if template.sha256 != self.manifest.template_sha256:
            raise ModelDamaged(
                f"The chat template of {self.name} is not the one that its manifest names.",
                hint=how_to_mend(self.foundation.name),
            )
        return template.as_completer() if answering and self.manifest.answers == "text" else template


class ModelLibrary:
    """The models under `folder`, which need not exist yet."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def list(self) -> list[ModelFolder]:
        """Every whole model, by name. Damaged ones are left out; `scan` tells of them."""
        return self.scan()[0]

    def damaged(self) -> dict[str, ModelError]:
        """What is wrong with each folder that is not a whole model, by name."""
        return self.scan()[1]

    def scan(self) -> tuple[builtins.list[ModelFolder], dict[str, ModelError]]:
        """Every whole model, by name, and what is wrong with each folder that is none. Raises ModelError."""
        whole: builtins.list[ModelFolder] = []
        damaged: dict[str, ModelError] = {}
        for name in self._list_names():
            try:
                whole.append(self.find(name))
            except ModelError as error:
                damaged[name] = error
        return whole, damaged

    def find(self, name: str) -> ModelFolder:
        """The model `name`, its files present with the right sizes; of an adapter, its base too, which must be the one
        that it was trained on. Raises ModelNotFound, ModelDamaged."""
        try:
            path = self.folder / check_name(name)
        except InvalidInput as error:
            raise ModelNotFound(error.message, hint="`chatbot models list` shows the models here.") from None
        if not path.is_dir():
            raise ModelNotFound(
                f"There is no model {name} in {self.folder}.",
                hint=f"Fetch it with `chatbot models pull {name}`."
                if _is_catalogued(name)
                else "`chatbot models list` shows those that are here and those that can be pulled.",
            )
        manifest = read_manifest(path)
        hint = how_to_mend(name) if manifest.kind == "base" else _mend_adapter(name)
        if not manifest.files:
            raise ModelDamaged(f"{path / MANIFEST} is damaged: it names no files.", hint=hint)
        for file in manifest.files:
            try:
                size = os.lstat(path / file.path).st_size
            except OSError as error:
                reason = "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}"
                raise ModelDamaged(f"{path / file.path} {reason}.", hint=hint) from None
            if size != file.size:
                raise ModelDamaged(f"{path / file.path} has {size:,} bytes instead of {file.size:,}.", hint=hint)
        if manifest.kind == "base":
            return ModelFolder(name, path, manifest)
        return ModelFolder(name, path, manifest, self.check_base(name, path, manifest))

    def verify(self, name: str, on_bytes: Callable[[int], None] | None = None) -> None:
        """Reads every byte of the model. Raises ModelNotFound, or ModelDamaged naming the file at fault.

        `on_bytes` hears how many bytes each step read.
        """
        self.find_verified(name, on_bytes).load_template()

    def find_verified(
        self, name: str, on_bytes: Callable[[int], None] | None = None, *, with_base: bool = True
    ) -> ModelFolder:
        """The model `name`, the content of each file as its manifest says: what to load weights from.

        An adapter's base is read too, unless `with_base` is false: for whoever has it in memory. `on_bytes` hears how
        many bytes each step read. Raises ModelNotFound, or ModelDamaged naming the file at fault.
        """
        model = self.find(name)
        if model.base is not None:
            _verify_files(model, _mend_adapter(name), on_bytes)
            if not with_base:
                return model
        _verify_files(model.foundation, how_to_mend(model.foundation.name), on_bytes)
        return model

    def list_adapters(self, base: str) -> builtins.list[str]:
        """The names of the adapters that need the model `base`, whole or not. Raises ModelError."""
        names = []
        for name in self._list_names():
            try:
                manifest = read_manifest(self.folder / name)
            except ModelError:  # what it was, nobody can tell
                continue
            if manifest.kind == "adapter" and manifest.base == base:
                names.append(name)
        return names

    def check_needless(self, name: str) -> None:
        """Raises InvalidInput naming the adapters that need the model `name`, if there are any."""
        if adapters := self.list_adapters(name):
            raise InvalidInput(
                f"{name} is the base of {', '.join(printable_line(one, 100) for one in adapters)}, which cannot answer "
                "without it.",
                hint="Remove the adapters first, or use --force.",
            )

    def remove(self, name: str, *, force: bool = False) -> None:
        """Deletes the model, whole or damaged; one that adapters need only with `force`.

        Raises ModelNotFound; InvalidInput naming the adapters; ModelError if the disk refuses.
        """
        try:
            path = self.folder / check_name(name)
        except InvalidInput as error:
            raise ModelNotFound(error.message, hint="Give the name that `chatbot models list` shows.") from None
        if path.is_symlink() or not path.is_dir():
            raise ModelNotFound(f"There is no model {name} in {self.folder}.")
        if not force:
            self.check_needless(name)
        try:
            # Renamed first: a removal that is interrupted leaves no half of a model under its name.
            grave = Path(tempfile.mkdtemp(dir=self.folder, prefix=f".{name}.removed."))
            path.rename(grave / name)
            sync_folder(self.folder)
            shutil.rmtree(grave)
        except OSError as error:
            raise ModelError(f"{path} cannot be removed: {error.strerror}.") from None

    def check_base(self, name: str, path: Path, manifest: Manifest) -> ModelFolder:
        """The base of the adapter `name`, whose manifest in `path` it must fit. Raises ModelNotFound, ModelDamaged."""
        present = {file.path for file in manifest.files}
        if present != ADAPTER_FILES:
            raise ModelDamaged(
                f"{path / MANIFEST} is damaged: the files of an adapter are {' and '.join(sorted(ADAPTER_FILES))}.",
                hint=_mend_adapter(name),
            )
        needed = f"{name} is an adapter of {printable_line(manifest.base, 100)}"
        if manifest.base == name or not (self.folder / manifest.base).is_dir():
            hint = f"Fetch it with `chatbot models pull {manifest.base}`." if _is_catalogued(manifest.base) else ""
            raise ModelNotFound(f"{needed}, which is not here.", hint=hint or "Add the model that it was trained on.")
        try:
            # Looked at before it is found: a chain of adapters, or a circle of them, is not walked.
            if read_manifest(self.folder / manifest.base).kind != "base":
                raise ModelDamaged(f"{manifest.base} is an adapter itself.", hint=_mend_adapter(name))
            base = self.find(manifest.base)
        except ModelDamaged as error:
            raise ModelDamaged(f"{needed}, which cannot be its base: {error.message}", hint=error.hint) from None
        tokenizer = next((file.sha256 for file in base.manifest.files if file.path == "tokenizer.json"), "")
        for what, wanted, found in (
            ("content", manifest.base_sha256, base.sha256),
            ("chat template", manifest.template_sha256, base.template_sha),
            ("tokenizer", manifest.tokenizer_sha256, tokenizer),
        ):
            if wanted != found:
                raise ModelDamaged(
                    f"{needed}, but the {what} of the one that is here has sha256 {found[:12]}… instead of "
                    f"{wanted[:12]}…: it was trained on another.",
                    hint=f"Put back the {manifest.base} that it was trained on, or train it anew.",
                )
        return base

    def _list_names(self) -> builtins.list[str]:
        try:
            names = sorted(path.name for path in self.folder.iterdir() if path.is_dir())
        except FileNotFoundError:
            return []
        except OSError as error:
            raise ModelError(f"{self.folder} cannot be read: {error.strerror}.") from None
        # A hidden one is being fetched, or left over from a fetch that was killed.
        return [name for name in names if not name.startswith(".")]


def _verify_files(model: ModelFolder, hint: str, on_bytes: Callable[[int], None] | None) -> None:
    for file in model.manifest.files:
        path = model.path / file.path
        try:
            digest = hash_file(path, on_bytes)
        except OSError as error:
            raise ModelDamaged(f"{path} cannot be read: {error.strerror}.", hint=hint) from None
        if digest != file.sha256:
            raise ModelDamaged(f"{path} differs from its manifest.", hint=hint)


def _mend_adapter(name: str) -> str:
    return f"Remove it with `chatbot models remove {printable_line(name)}`, and promote or train another."


def how_to_mend(name: str) -> str:
    """What to do about a damaged model: only one of the catalogue can be pulled."""
    if _is_catalogued(name):
        return f"Fetch it anew with `chatbot models pull --force {name}`."
    return f"Add it anew with `chatbot models add --force --name {printable_line(name)} …`."


def _is_catalogued(name: str) -> bool:
    from chatbot.models.catalogue import read_catalogue

    try:
        return name in read_catalogue()
    except (ModelError, OSError):
        return False
