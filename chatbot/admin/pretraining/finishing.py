"""What was trained, as the files that every loader of models knows."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from chatbot.admin.pretraining.job import PretrainingJob
from chatbot.files import write_file

_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja")


def write_model(job: PretrainingJob, model: Any, folder: Path) -> None:
    """Into the empty `folder`: config.json, model.safetensors in float32 and the tokenizer's files; of LoRA, the two
    files of an adapter. Raises OSError."""
    if job.config.lora_rank:
        _write_adapter(job, model, folder)
        return
    from transformers.utils import logging

    logging.disable_progress_bar()
    model.config.dtype = "float32"
    model.save_pretrained(str(folder))
    source = job.base.path if job.base else job.tokenizer
    for name in (*_TOKENIZER, "generation_config.json"):
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)
    if job.base is None:
        settings = {"bos_token_id": model.config.bos_token_id, "eos_token_id": model.config.eos_token_id}
        write_file(folder / "generation_config.json", json.dumps(settings, indent=2) + "\n")
    said = json.loads((folder / "config.json").read_bytes())
    said.pop("_name_or_path", None)  # a path of this machine
    write_file(folder / "config.json", json.dumps(said, indent=2, ensure_ascii=False) + "\n")


def _write_adapter(job: PretrainingJob, model: Any, folder: Path) -> None:
    from chatbot.admin.training.adapters import save_adapter

    assert job.base is not None
    mark = ".default."
    weights = {name: weight.detach().cpu() for name, weight in model.named_parameters() if mark in name}
    save_adapter(folder, weights, model.peft_config["default"], base=job.base.name, adapter="default")
