"""What a run is: its configuration and inputs, as config.json in its folder.

Everything that the result depends on stands there, resolved: a run that is resumed, or carried on by other processes,
reads it again and takes nothing from its caller's mood.
"""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from chatbot import __version__
from chatbot.admin.datasets.folder import DatasetFolder
from chatbot.admin.training.config import TrainingConfig
from chatbot.errors import LearningError, RunDamaged
from chatbot.files import hash_file, write_file
from chatbot.models.library import ModelFolder, ModelLibrary
from chatbot.models.manifest import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from chatbot.text import printable_line

CONFIG = "config.json"
_LIBRARIES = ("torch", "transformers", "trl", "peft", "accelerate", "safetensors")
_KINDS = {"sft": "sft", "dpo": "preference", "kto": "label"}


@dataclass(frozen=True, slots=True)
class Job:
    """A run's inputs, ready to be opened. `dtype` and `threads` are settled, not asked for."""

    config: TrainingConfig
    dataset: DatasetFolder
    model: ModelFolder
    parent: Path | None
    device: str
    dtype: str
    threads: int

    def describe(self) -> dict[str, Any]:
        """As config.json holds it."""
        manifest = self.dataset.manifest
        return {
            "format": 1,
            "config": asdict(self.config),
            "dataset": {
                "path": str(self.dataset.path),
                "name": manifest.name,
                "number": manifest.number,
                "sha256": manifest.sha256,
            },
            "model": {"path": str(self.model.path), "name": self.model.name, "sha256": self.model.sha256},
            "parent": None if self.parent is None else {"path": str(self.parent), **_hash_adapter(self.parent)},
            "device": self.device,
            "dtype": self.dtype,
            "threads": self.threads,
            "hardware": _describe_hardware(self.device),
            "versions": {
                "chatbot": __version__,
                "python": platform.python_version(),
                **{name: version(name) for name in _LIBRARIES},
            },
        }


def check_inputs(config: TrainingConfig, dataset: DatasetFolder, model: ModelFolder) -> None:
    """Raises LearningError if the dataset is of another kind, or was made for another template or tokenizer."""
    manifest = dataset.manifest
    if manifest.kind != _KINDS[config.method]:
        raise LearningError(
            f"{config.method.upper()} trains on a dataset of kind {_KINDS[config.method]}; "
            f"{dataset.title} is of kind {manifest.kind}.",
            hint="Choose another --method or another dataset.",
        )
    tokenizer = hash_file(model.path / "tokenizer.json")
    if manifest.template_sha256 != model.template_sha or manifest.tokenizer_sha256 != tokenizer:
        raise LearningError(
            f"{dataset.title} was built for {manifest.model}, whose chat template or tokenizer is not that of "
            f"{model.name}.",
            hint=f"Build the dataset anew for {model.name}.",
        )


def settle(config: TrainingConfig, dataset: DatasetFolder, model: ModelFolder, parent: Path | None) -> Job:
    """Decides what the machine decides, and what the parent does: an adapter that is trained on keeps its rank, alpha
    and dropout. Raises LearningError if the inputs do not belong together, ModelDamaged."""
    from chatbot.admin.training.data import read_limit
    from chatbot.admin.training.loading import check_parent, check_quantization, choose_device, choose_dtype, read_shape
    from chatbot.engine.loading import count_threads

    check_inputs(config, dataset, model)
    device = choose_device()
    if config.quantize:
        check_quantization(device)
    if parent is not None:
        check_parent(parent, model)
        config = replace(config, **read_shape(parent))
    config = config.resolve(parameters=model.manifest.parameters)
    config = replace(config, max_length=config.max_length or read_limit(dataset, model))
    return Job(config, dataset, model, parent, device, choose_dtype(config, device), count_threads(config.threads))


def write_job(folder: Path, job: Job) -> None:
    """Raises OSError."""
    write_file(folder / CONFIG, json.dumps(job.describe(), indent=2))


def read_job(folder: Path) -> Job:
    """Opens what config.json names. Raises RunDamaged, LearningError, DatasetDamaged or ModelError."""
    content = _read(folder)
    try:
        dataset = DatasetFolder.open(Path(content["dataset"]["path"]))
        path = Path(content["model"]["path"])
        model = ModelLibrary(path.parent).find_verified(path.name)
        parent = Path(content["parent"]["path"]) if content["parent"] else None
        config = TrainingConfig.from_fields(content["config"])
        if parent is not None:
            _check_parent(parent, model)
        job = Job(config, dataset, model, parent, content["device"], content["dtype"], content["threads"])
    except (KeyError, TypeError) as error:
        raise RunDamaged(f"{folder / CONFIG} is damaged: {error} is missing.") from None
    _check_same(content, job)
    return job


def _check_same(content: dict[str, Any], job: Job) -> None:
    """Raises LearningError if `content`, of config.json, tells of other inputs than `job`."""
    now = job.describe()
    for name, title in (("dataset", "dataset"), ("model", "base model"), ("parent", "parent adapter")):
        then, wanted = content[name] or {}, now[name] or {}
        same = then.get("sha256") == wanted.get("sha256")
        if "config_sha256" in then:  # not in what an older version wrote
            same = same and then["config_sha256"] == wanted.get("config_sha256")
        if not same:
            raise LearningError(f"The {title} is not the one that this run began with.", hint="Start a new run.")


def _check_parent(parent: Path, model: ModelFolder) -> None:
    """Raises RunDamaged if it cannot be read any more, and as `check_parent`."""
    from chatbot.admin.training.loading import check_parent

    try:
        if parent.is_dir():
            check_parent(parent, model)
            return
        reason = "it is not there any more"
    except OSError as error:
        reason = printable_line(error.strerror or str(error), 200)
    raise RunDamaged(
        f"The adapter that this run trains on from cannot be read in {parent}: {reason}.",
        hint="Put it back, or start a new run.",
    )


def _read(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        raise RunDamaged(f"{path} is missing or damaged.", hint="Start a new run.") from None
    if not isinstance(content, dict):
        raise RunDamaged(f"{path} is damaged.")
    return content


def _describe_hardware(device: str) -> dict[str, Any]:
    """What a run's speed, and on a GPU its bits, depend on beside the libraries."""
    hardware: dict[str, Any] = {"system": platform.system(), "machine": platform.machine(), "cores": os.cpu_count()}
    if device == "cuda":
        import torch

        hardware["gpus"] = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    return hardware


def _hash_adapter(folder: Path) -> dict[str, str]:
    return {
        "sha256": hash_file(folder / ADAPTER_WEIGHTS),
        "config_sha256": hash_file(folder / ADAPTER_CONFIG),
    }
