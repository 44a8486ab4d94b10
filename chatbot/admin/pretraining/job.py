"""What a pretraining is, as config.json in its run's folder: resolved, so that a resumed run asks nobody again."""

from __future__ import annotations

import json
import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from chatbot.admin.corpus.folder import CorpusFolder
from chatbot.admin.pretraining.config import PretrainingConfig
from chatbot.errors import LearningError, RunDamaged
from chatbot.files import hash_file, write_file
from chatbot.models.library import ModelFolder, ModelLibrary

CONFIG = "config.json"
KIND = "pretrain"
_LIBRARIES = ("torch", "transformers", "tokenizers", "peft", "safetensors")


@dataclass(frozen=True, slots=True)
class PretrainingJob:
    """A run's inputs. `base` is the model that is read on, None for a new one."""

    config: PretrainingConfig
    corpus: CorpusFolder
    tokenizer: Path
    """The folder of tokenizer.json, tokenizer_config.json and chat_template.jinja: a tokenizer's, or the base's."""
    base: ModelFolder | None
    device: str
    threads: int

    def describe(self) -> dict[str, Any]:
        """As config.json holds it."""
        base = self.base
        return {
            "format": 1,
            "kind": KIND,
            "config": self.config.describe(),
            # Under the name by which a fine-tuning keeps its data: whoever asks what a run has seen looks there.
            "dataset": {
                "path": str(self.corpus.path),
                "name": self.corpus.manifest.name,
                "number": self.corpus.manifest.number,
                "sha256": self.corpus.manifest.sha256,
            },
            "tokenizer": {"path": str(self.tokenizer), "sha256": hash_file(self.tokenizer / "tokenizer.json")},
            "model": {"path": str(base.path), "name": base.name, "sha256": base.sha256} if base else None,
            "device": self.device,
            "threads": self.threads,
            "versions": {"python": platform.python_version(), **{name: version(name) for name in _LIBRARIES}},
        }


def write_job(folder: Path, job: PretrainingJob) -> None:
    """Raises OSError."""
    write_file(folder / CONFIG, json.dumps(job.describe(), indent=2))


def read_job(folder: Path) -> PretrainingJob:
    """Opens what config.json names. Raises RunDamaged, LearningError or ModelError."""
    path = folder / CONFIG
    try:
        content = json.loads(path.read_bytes())
        if content["kind"] != KIND:
            raise LearningError(
                f"The run {folder.name} is no pretraining.", hint="Resume it with `chatbot admin finetune`."
            )
        corpus = CorpusFolder.open(Path(content["dataset"]["path"]))
        tokenizer = Path(content["tokenizer"]["path"])
        base = None
        if content["model"]:
            place = Path(content["model"]["path"])
            base = ModelLibrary(place.parent).find_verified(place.name)
        config = PretrainingConfig.from_fields(content["config"])
        job = PretrainingJob(config, corpus, tokenizer, base, str(content["device"]), int(content["threads"]))
    except (OSError, ValueError, RecursionError, KeyError, TypeError) as error:
        raise RunDamaged(f"{path} is missing or damaged ({type(error).__name__}).", hint="Start a new run.") from None
    _check_same(content, job)
    return job


def is_pretraining(folder: Path) -> bool:
    """Whether the run in `folder` is a pretraining, as far as its config.json can be read."""
    try:
        content = json.loads((folder / CONFIG).read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and content.get("kind") == KIND


def _check_same(content: dict[str, Any], job: PretrainingJob) -> None:
    try:
        now = job.describe()
    except OSError as error:
        raise RunDamaged(f"{error.filename} is missing.", hint="Start a new run.") from None
    for name, title in (("dataset", "corpus"), ("tokenizer", "tokenizer"), ("model", "base model")):
        if (content[name] or {}).get("sha256") != (now[name] or {}).get("sha256"):
            raise LearningError(f"The {title} is not the one that this run began with.", hint="Start a new run.")
