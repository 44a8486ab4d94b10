"""The weights of an evaluation, in the finest number format for which there is room.

float32 is exact to the bit and asks for four bytes a parameter: 32 GB for eight billion, where the run that is to be
judged may have held them in 4 bits. So where float32 does not fit, the formats follow that the run itself trained in.
Both models stand on the same weights, so a coarser format takes nothing from either alone.

A CPU does not refuse what it has no room for: the system ends the process. So room is counted before it is tried.
"""

from __future__ import annotations

import gc
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chatbot.admin.training.run import quiet
from chatbot.engine.loading import is_out_of_memory
from chatbot.errors import ModelDamaged, OutOfMemory
from chatbot.models.library import ModelFolder
from chatbot.text import printable_line

_BYTES = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0}  # of a parameter
_FOUR_BITS = 0.6  # with its scales, and the embeddings that stay as they are
_SHARE = 0.9  # of the free memory that weights may take: the passes need some as well


@dataclass(frozen=True, slots=True)
class Weights:
    """A number format; `quantized` weights have 4 bits and are multiplied in `dtype`."""

    dtype: str = "float32"
    quantized: bool = False

    @property
    def bytes(self) -> float:
        """Of a parameter."""
        return _FOUR_BITS if self.quantized else _BYTES[self.dtype]

    def __str__(self) -> str:
        return f"4 bits, {self.dtype}" if self.quantized else self.dtype


FINEST = Weights()


def list_formats(described: Mapping[str, Any]) -> tuple[Weights, ...]:
    """float32, and then what the run trained in whose configuration this is, from fine to coarse."""
    dtype, config = str(described.get("dtype")), described.get("config")
    found = [FINEST]
    if dtype in _BYTES and dtype != FINEST.dtype:
        found.append(Weights(dtype))
    if isinstance(config, Mapping) and config.get("quantize") is True:
        found.append(Weights(dtype if dtype in _BYTES else "bfloat16", quantized=True))
    return tuple(found)


def load_finest(
    base: ModelFolder, adapters: Mapping[str, Path], device: str, formats: Sequence[Weights]
) -> tuple[Any, Weights]:
    """`base` with `adapters` by name, in the first of `formats` that fits, and which it was. Raises ModelDamaged,
    OutOfMemory if none does."""
    possible = [one for one in formats if not one.quantized or _can_quantize(device)]
    for one in possible:
        if one != possible[-1] and base.manifest.parameters * one.bytes > _SHARE * _count_free(device):
            continue
        model = _try(base, adapters, device, one)
        if model is not None:
            return model, one
        _free(device)
    raise OutOfMemory(
        f"{base.name} in {possible[-1]} does not fit into memory.", hint="Compare on a machine with more of it."
    )


def _try(base: ModelFolder, adapters: Mapping[str, Path], device: str, weights: Weights) -> Any:
    """None if it does not fit. The error ends here: its traceback holds what was loaded so far."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    options: dict[str, Any] = {"dtype": getattr(torch, weights.dtype)}
    if weights.quantized:
        options["quantization_config"] = _describe_quantization(options["dtype"])
    try:
        model: Any = AutoModelForCausalLM.from_pretrained(
            base.path, local_files_only=True, use_safetensors=True, trust_remote_code=False, **options
        )
        if not weights.quantized:  # what is, is where it belongs, and refuses to be moved
            model = model.to(device)
        with quiet():
            for name, path in adapters.items():
                if isinstance(model, PeftModel):
                    model.load_adapter(str(path), adapter_name=name)
                else:
                    model = PeftModel.from_pretrained(model, str(path), adapter_name=name)
    except (OSError, ValueError, RuntimeError, KeyError, MemoryError, ImportError) as error:
        if is_out_of_memory(error):
            return None
        reason = printable_line(str(error), 300)
        raise ModelDamaged(f"The models to compare cannot be loaded: {reason}") from error
    return model.eval()


def _describe_quantization(dtype: Any) -> Any:
    """As QLoRA trains."""
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
    )


def _can_quantize(device: str) -> bool:
    return device == "cuda" and importlib.util.find_spec("bitsandbytes") is not None


def _count_free(device: str) -> int:
    """Bytes."""
    import psutil  # type: ignore[import-untyped]  # it ships no types
    import torch

    return int(torch.cuda.mem_get_info()[0] if device == "cuda" else psutil.virtual_memory().available)


def _free(device: str) -> None:
    import torch

    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()
