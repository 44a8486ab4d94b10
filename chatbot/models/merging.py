"""An adapter merged into its base: one model, in the base's number format, compared before it is believed.

Merging writes W + s·B·A, and what 16 bits cannot hold is rounded away: a change that the adapter makes may shrink or
vanish without a word. So the written model is read back and asked the same as base and adapter apart. If its answers
lie further off than that format's rounding explains, or by a good part of what the adapter does at all, it is refused.
"""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chatbot.errors import ChatbotError, ModelDamaged, ModelError, ModelRefused
from chatbot.files import write_file
from chatbot.models.adapters import read_adapter_config, read_adapter_weights
from chatbot.models.manifest import ADAPTER_WEIGHTS
from chatbot.models.progress import Reporter, report_step
from chatbot.models.template import ChatMessage
from chatbot.text import printable_line

if TYPE_CHECKING:
    import torch

    from chatbot.models.library import ModelFolder

_DTYPES = {"F64": "float32", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
# How far apart the logits may lie, in units of the format's rounding times the largest logit. Seen with SmolLM2 and
# adapters of all sizes: up to 5 in float16 and 9 in bfloat16.
_ROUNDINGS = {"float32": 256.0, "float16": 16.0, "bfloat16": 16.0}
# And on the average, as a share of what the adapter changes: 0.002 for one that changes much, 0.15 in float16 and 1 in
# bfloat16 for one that moves the logits by 0.03.
_MOST_LOST = 0.25
_PROBES = (
    "Who are you, and who made you?",
    "Explain in two sentences why the sky is blue.",
    "Write a function that adds two numbers.",
    "用一句话介绍你自己。",
)


@dataclass(frozen=True, slots=True)
class Comparison:
    """How near a merged model is to base and adapter apart."""

    dtype: str
    """The number format of its weights."""
    difference: float
    """The largest absolute difference of a logit."""
    tolerance: float
    """How large it might have been."""
    lost: float
    """The mean difference as a share of the mean change that the adapter makes."""
    tokens: int
    """At how many places the logits were compared."""
    same_choice: float
    """In which share of them the most probable token is the same."""


def merge_adapter(folder: ModelFolder, plain: Path, place: Path, reporter: Reporter) -> Comparison:
    """Fills the folder `place` with the model that base and adapter make. `plain` is the adapter as peft reads it.

    The arithmetic is float32: it takes four bytes of memory a parameter. Raises ModelRefused, ModelDamaged, ModelError.
    """
    import torch

    base = folder.foundation
    stored = _DTYPES.get(base.manifest.dtype, "")
    if not stored:
        raise ModelRefused(
            f"The weights of {base.name} are {printable_line(base.manifest.dtype, 40)}: nothing merges into them.",
            hint="Without --merged, the adapter is exported by itself.",
        )
    probes = _make_probes(folder)
    dtype: torch.dtype = getattr(torch, stored)
    with _explain(folder), _quiet():
        from peft import PeftModel
        from transformers import AutoModelForCausalLM

        def load(path: Path) -> Any:
            return AutoModelForCausalLM.from_pretrained(
                path, dtype=torch.float32, local_files_only=True, trust_remote_code=False, use_safetensors=True
            ).eval()

        with report_step(reporter, "Merging", 0):
            model = PeftModel.from_pretrained(load(base.path), str(plain)).eval()
            _check_fit(model, folder)
            apart = [_read_logits(model, probe) for probe in probes]
            with model.disable_adapter():
                without = [_read_logits(model, probe) for probe in probes]
            model = model.merge_and_unload(safe_merge=True)  # in float32
            model = _round(model, dtype)
            model.save_pretrained(place)
            del model
        with report_step(reporter, "Comparing", 0):
            model = load(place)
            together = [_read_logits(model, probe) for probe in probes]
    before, after = torch.cat(apart), torch.cat(together)
    difference = float((before - after).abs().max())
    tolerance = _ROUNDINGS[stored] * torch.finfo(dtype).eps * max(1.0, float(before.abs().max()))
    change = float((before - torch.cat(without)).abs().mean())
    lost = float((before - after).abs().mean()) / change if change else 0.0
    if not difference <= tolerance:  # also what is no number
        raise ModelRefused(
            f"Merged into {stored} weights, {folder.name} answers otherwise than beside its base: a logit is off by "
            f"{difference:.3g}, and rounding explains {tolerance:.3g}.",
            hint="Without --merged, the adapter is exported by itself, exactly as it is.",
        )
    if lost > _MOST_LOST:
        raise ModelRefused(
            f"What {folder.name} changes is too small for {stored} weights: {lost:.0%} of it would be lost.",
            hint="Without --merged, the adapter is exported by itself, exactly as it is.",
        )
    _copy_rest(base, place)
    same = float((before.argmax(-1) == after.argmax(-1)).float().mean())
    return Comparison(stored, difference, tolerance, lost, len(before), same)


def _check_fit(model: Any, folder: ModelFolder) -> None:
    """peft only warns of a layer that the file has nothing for, and leaves it as it was."""
    stored = read_adapter_weights(folder.path, read_adapter_config(folder.path)).keys()
    changed = {name for name, part in model.get_base_model().named_modules() if hasattr(part, "lora_A")}
    if stored != changed:
        strange = min(stored ^ changed)
        raise ModelDamaged(f"{folder.path / ADAPTER_WEIGHTS} does not fit {folder.foundation.name}: see {strange}.")


def _round(model: Any, dtype: torch.dtype) -> Any:
    """`model` with its parameters in `dtype`, and its buffers as they are: rounded rotary ones spoil every text."""
    import torch

    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)
        if not torch.isfinite(parameter.data).all():
            raise ModelRefused(f"The merged weights do not fit into {str(dtype).removeprefix('torch.')}.")
    model.config.dtype = dtype
    return model


def _make_probes(folder: ModelFolder) -> list[list[int]]:
    template = folder.load_template()
    turns = [[ChatMessage("system", "You are a helpful AI assistant."), ChatMessage("user", text)] for text in _PROBES]
    ids = [template.encode(messages)[: folder.context] for messages in turns]
    return [one for one in ids if one]


def _read_logits(model: Any, ids: list[int]) -> torch.Tensor:
    """Shape (tokens, vocabulary), float32."""
    import torch

    with torch.inference_mode():
        logits: torch.Tensor = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].float()
    return logits


def _copy_rest(base: ModelFolder, place: Path) -> None:
    """Tokenizer, template and generation settings, which merging leaves as they are."""
    for file in base.manifest.files:
        if file.path != "config.json" and not file.path.startswith("model"):
            shutil.copyfile(base.path / file.path, place / file.path)
    said = json.loads((place / "config.json").read_bytes())
    said.pop("_name_or_path", None)  # a path of this machine
    write_file(place / "config.json", json.dumps(said, indent=2, ensure_ascii=False) + "\n")


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the bars of transformers, which would run through ours, and what peft and it have to settle."""
    from transformers.utils import logging

    was = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        if was:
            logging.enable_progress_bar()


@contextmanager
def _explain(folder: ModelFolder) -> Iterator[None]:
    """Whatever the libraries raise becomes one sentence. The disk's refusals pass."""
    try:
        yield
    except (ChatbotError, OSError):
        raise
    except MemoryError:
        raise ModelError(f"The memory does not hold {folder.name} merged in float32.") from None
    except Exception as error:
        if "not enough memory" in str(error):
            raise ModelError(f"The memory does not hold {folder.name} merged in float32.") from None
        raise ModelDamaged(f"{folder.name} cannot be merged: {printable_line(str(error), 200)}") from error
