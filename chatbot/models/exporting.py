"""An adapter handed to others: as peft saves one, or merged into its base as a model that transformers loads.

It leaves with nothing of this machine in it, and with nothing that was not checked: the configuration is written anew
from what was understood of it.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chatbot.errors import InvalidInput
from chatbot.files import new_folder, write_file
from chatbot.models.adapters import read_adapter_config, read_adapter_weights
from chatbot.models.installation import check_space, explain_disk
from chatbot.models.manifest import ADAPTER_WEIGHTS
from chatbot.models.merging import Comparison, merge_adapter
from chatbot.models.progress import Reporter, SilentReporter, report_step

if TYPE_CHECKING:
    from chatbot.models.library import ModelFolder, ModelLibrary

_MARK = "export.json"
"""In each export: what it is of, and the sign that a later one may replace it."""


@dataclass(frozen=True, slots=True)
class Export:
    """What was written."""

    name: str
    path: Path
    merged: bool
    size: int
    """Bytes."""
    comparison: Comparison | None = None
    """Of a merged model: how near it is to base and adapter apart."""


def export_adapter(
    library: ModelLibrary,
    name: str,
    target: Path,
    *,
    merged: bool = False,
    force: bool = False,
    reporter: Reporter | None = None,
) -> Export:
    """Writes the adapter `name` into the folder `target`, whole or not at all; with `force` over an older export.

    Plain, it loads with `PeftModel.from_pretrained(base, target)`; merged, with
    `AutoModelForCausalLM.from_pretrained(target)`. Raises InvalidInput if `name` is no adapter or `target` is taken;
    ModelRefused if the merged model answers otherwise than it should; ModelNotFound, ModelDamaged, ModelError.
    """
    reporter = reporter or SilentReporter()
    target = Path(os.path.abspath(target))  # noqa: PTH100  a link stays what it is, unlike with resolve
    folder = library.find(name)
    if folder.base is None:
        raise InvalidInput(f"{name} is a base model, not an adapter.", hint=f"Its files lie in {folder.path}.")
    with explain_disk(target):
        _check_target(library, target, force)
    with report_step(reporter, "Verifying", folder.manifest.size + folder.base.manifest.size):
        done = 0

        def advance(count: int) -> None:
            nonlocal done
            done += count
            reporter.update(done)

        folder = library.find_verified(name, advance)
    assert folder.base is not None
    with explain_disk(target), new_folder(target, replace=force) as place:
        if merged:
            plain = place / "plain"
            plain.mkdir()
            _write_plain(folder, folder.base, plain)
            check_space(target.parent, folder.base.manifest.size)
            comparison = merge_adapter(folder, plain, place, reporter)
            shutil.rmtree(plain)
        else:
            comparison = None
            _write_plain(folder, folder.base, place)
        _write_mark(folder, folder.base, place)
        size = sum(path.stat().st_size for path in place.iterdir())
    return Export(name, target, merged, size, comparison)


def _check_target(library: ModelLibrary, target: Path, force: bool) -> None:
    """Whether the folder may be made there: what --force replaces is deleted, so it must look like an export."""
    if library.folder.resolve() in (target.resolve(), *target.resolve().parents):
        raise InvalidInput(f"{target} lies among the models of this program.", hint="Choose a folder elsewhere.")
    if not os.path.lexists(target):
        return
    if target.is_symlink() or not target.is_dir():
        raise InvalidInput(f"{target} exists and is no folder.")
    if not force:
        raise InvalidInput(f"{target} exists already.", hint="Choose another folder, or replace it with --force.")
    inside = list(target.iterdir())
    known = _list_export(target)
    if inside and any(path.name not in known or not path.is_file() or path.is_symlink() for path in inside):
        raise InvalidInput(
            f"{target} holds other things than an export, and is not replaced.",
            hint="Choose another folder, or delete this one yourself.",
        )


def _list_export(folder: Path) -> set[str]:
    """The names of the files that an export wrote into `folder`: those of any other model look the same."""
    try:
        told = json.loads((folder / _MARK).read_bytes())
    except (OSError, ValueError, RecursionError):
        return set()
    names = told.get("files") if isinstance(told, dict) and told.get("exported_by") == "chatbot" else None
    return {_MARK, *map(str, names)} if isinstance(names, list) else set()


def _write_mark(folder: ModelFolder, base: ModelFolder, place: Path) -> None:
    told: dict[str, Any] = {"exported_by": "chatbot", "model": folder.name, "sha256": folder.sha256}
    told |= {"base": base.name, "base_sha256": base.sha256}
    told["files"] = sorted(path.name for path in place.iterdir())
    write_file(place / _MARK, json.dumps(told, indent=2, ensure_ascii=False) + "\n")


def _write_plain(folder: ModelFolder, base: ModelFolder, place: Path) -> None:
    """The weights byte for byte; the configuration as peft writes it, with a base that others can find: training
    leaves a path of this machine there."""
    from peft import LoraConfig

    config = read_adapter_config(folder.path)
    read_adapter_weights(folder.path, config)
    hub = base.manifest.source.removeprefix("hub:") if base.manifest.source.startswith("hub:") else ""
    values: dict[str, Any] = config.model_dump(include=set(type(config).model_fields) - {"peft_type"})
    if config.lora_alpha.is_integer():
        values["lora_alpha"] = int(config.lora_alpha)
    said = LoraConfig(
        **values,
        base_model_name_or_path=hub or base.name,
        revision=base.manifest.revision or None if hub else None,
        inference_mode=True,
    )
    said.target_modules = sorted(config.target_modules)  # peft keeps a set, whose order differs with each process
    said.save_pretrained(str(place))
    shutil.copyfile(folder.path / ADAPTER_WEIGHTS, place / ADAPTER_WEIGHTS)
