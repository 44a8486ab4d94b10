"""Random LoRA adapters, made and saved by peft itself."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chatbot.models.installation import install_adapter
from chatbot.models.library import ModelFolder, ModelLibrary

TARGETS = {
    "gpt2": ["c_attn", "c_fc", "c_proj"],
    "llama": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
}


def save_adapter(base: Path, folder: Path, *, seed: int = 1, size: float = 0.05, **changes: Any) -> Path:
    """A peft adapter folder for the model in `base`, with random numbers in both matrices. `changes` are LoraConfig's;
    `size` is the spread of B, which sets how much the adapter changes."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base)
    kind = "gpt2" if model.config.model_type == "gpt2" else "llama"
    settings = {"r": 4, "lora_alpha": 12, "fan_in_fan_out": kind == "gpt2", "task_type": "CAUSAL_LM"}
    with _quiet():
        wrapped = get_peft_model(model, LoraConfig(**{**settings, "target_modules": TARGETS[kind], **changes}))
    torch.manual_seed(seed)
    for name, parameter in wrapped.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=size)
        elif "lora_A" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    wrapped.save_pretrained(str(folder))
    return folder


def add_adapter(library: ModelLibrary, base: str, name: str, work: Path, **changes: Any) -> ModelFolder:
    """A random adapter of the library's model `base`, taken in as `name`; `work` is where peft saves it."""
    found = library.find(base)
    saved = save_adapter(found.path, work / name, **changes)
    return install_adapter(library, name, saved, base=found, source="run:test")


def reload_with_peft(base: Path, folder: Path, dtype: Any = None) -> Any:
    """The reference: what peft and transformers make of them, in float32 unless `dtype` says otherwise."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base, dtype=dtype or torch.float32)
    with _quiet():
        return PeftModel.from_pretrained(model, str(folder)).eval()


@contextmanager
def _quiet() -> Iterator[None]:
    """peft asks transformers by a name that is to go."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield
