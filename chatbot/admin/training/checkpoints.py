"""Checkpoints: all that a run needs to go on exactly where it was.

A checkpoint is a folder named after its step. It is filled beside its place, given a manifest with the sha256 of every
file, synced and renamed: a kill at any moment leaves it whole or not there. Tensors are safetensors and all else is
JSON, so that a checkpoint from a stranger can at worst be refused; the trainer's own format is pickle, which runs code.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chatbot.errors import RunDamaged
from chatbot.files import hash_file, new_folder, write_file

if TYPE_CHECKING:
    import torch

FOLDER = "checkpoints"
TRAINER_STATE = "trainer_state.json"  # transformers' name: its loop reads the file
_MANIFEST = "manifest.json"
_STATE = "state.json"
_MOST_JSON = 64 << 20  # bytes


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A whole checkpoint on disk."""

    step: int
    path: Path

    def read_tensors(self, name: str) -> dict[str, torch.Tensor]:
        """The tensors of `name`, {} if the checkpoint has none of it. Raises RunDamaged."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        path = self.path / f"{name}.safetensors"
        if not path.exists():
            return {}
        try:
            return dict(load_file(path))
        except (SafetensorError, OSError) as error:
            raise RunDamaged(f"{path} cannot be read: {str(error)[:200]}.") from None

    def read_state(self) -> dict[str, Any]:
        """What is no tensor. Raises RunDamaged."""
        return _read_json(self.path / _STATE)


def write_checkpoint(
    run: Path, step: int, tensors: Mapping[str, Mapping[str, torch.Tensor]], state: Mapping[str, Any], trainer: str
) -> Path:
    """Makes the checkpoint of `step` in the folder `run`, whole or not at all. Raises OSError.

    `tensors` are files by name, `state` is JSON of our own and `trainer` that of transformers' loop.
    """
    from safetensors.torch import save_file

    target = run / FOLDER / str(step)
    with new_folder(target, replace=True) as folder:
        for name, content in tensors.items():
            if content:
                save_file({key: value.detach().contiguous() for key, value in content.items()},
                          folder / f"{name}.safetensors")  # fmt: skip
        write_file(folder / _STATE, json.dumps(state))
        write_file(folder / TRAINER_STATE, trainer)
        files = {
            path.name: {"size": path.stat().st_size, "sha256": hash_file(path)} for path in sorted(folder.iterdir())
        }
        write_file(folder / _MANIFEST, json.dumps({"format": 1, "step": step, "files": files}, indent=2))
    return target


def find_checkpoint(run: Path) -> Checkpoint | None:
    """The newest whole checkpoint of a run, None if it made none. Raises RunDamaged if none is whole any more."""
    faults = []
    for step, path in sorted(_list_checkpoints(run), reverse=True):
        if not (fault := _check(path)):
            return Checkpoint(step, path)
        faults.append(fault)
    if faults:
        raise RunDamaged(
            f"No checkpoint of {run.name} is whole: {'; '.join(faults)}.", hint="Start the run anew, without --resume."
        )
    return None


def drop_old_checkpoints(run: Path, keep: int) -> None:
    """Deletes all but the newest `keep`, and what killed writers left behind."""
    parent = run / FOLDER
    for _, path in sorted(_list_checkpoints(run), reverse=True)[keep:]:
        # Renamed first: a deletion that is killed must not leave what looks like a damaged checkpoint.
        grave = Path(tempfile.mkdtemp(dir=parent, prefix=".removed."))
        path.rename(grave / path.name)
    for path in parent.glob(".*"):
        shutil.rmtree(path, ignore_errors=True)


def drop_newer_checkpoints(run: Path, step: int) -> None:
    """Deletes what comes after `step`: a resumed run makes it again."""
    for number, path in _list_checkpoints(run):
        if number > step:
            shutil.rmtree(path, ignore_errors=True)


def _list_checkpoints(run: Path) -> list[tuple[int, Path]]:
    try:
        return [(int(path.name), path) for path in (run / FOLDER).iterdir() if path.name.isdecimal() and path.is_dir()]
    except FileNotFoundError:
        return []


def _check(folder: Path) -> str:
    """What is wrong with a checkpoint, '' if nothing is."""
    try:
        files = _read_json(folder / _MANIFEST)["files"]
        names = {name: str(record["sha256"]) for name, record in files.items()}
    except (RunDamaged, KeyError, TypeError, AttributeError):
        return f"{folder / _MANIFEST} is missing or damaged"
    if not {_STATE, TRAINER_STATE} <= set(names) or not any(name.endswith(".safetensors") for name in names):
        return f"{folder / _MANIFEST} does not name every file"
    for name, digest in names.items():
        path = folder / Path(name).name
        try:
            if hash_file(path) != digest:
                return f"{path} differs from its manifest"
        except OSError as error:
            return f"{path} cannot be read ({error.strerror})"
    return ""


def _read_json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MOST_JSON:
            raise RunDamaged(f"{path} is too large.")
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        raise RunDamaged(f"{path} is missing or damaged.") from None
    if not isinstance(content, dict):
        raise RunDamaged(f"{path} is damaged.")
    return content
