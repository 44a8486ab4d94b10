"""What an adapter's files may say: a peft configuration and safetensors, both a stranger's until they are checked here.

An adapter is LoRA (https://arxiv.org/abs/2106.09685): beside a linear layer with the weight W, two small matrices, so
that it computes W·x + s·B·A·x with s = alpha / r, or alpha / √r for rsLoRA (https://arxiv.org/abs/2312.03732). peft's
configuration knows some forty switches, and some of them change the base weights, name code or hold regular
expressions; those that we mean are read, those that are off are passed over, and any other is refused by name.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from chatbot.errors import ModelDamaged, ModelRefused
from chatbot.models.manifest import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from chatbot.text import printable_line

if TYPE_CHECKING:
    import torch

_MAX_CONFIG = 1 << 20  # bytes
_KEY = re.compile(r"base_model\.model\.(?P<module>[A-Za-z0-9_.]{1,400})\.lora_(?P<matrix>[AB])\.weight")
_OFF: tuple[Any, ...] = (None, False, "", [], {})
# What changes nothing in an adapter that is ready: where it came from, and settings of features that are off.
_HARMLESS = frozenset(
    {
        "base_model_name_or_path",
        "revision",
        "peft_version",
        "inference_mode",
        "lora_dropout",
        "megatron_core",
        "qalora_group_size",
    }
)

_ModuleName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*$", max_length=200)]


class AdapterConfig(BaseModel):
    """adapter_config.json, as far as it matters. Whatever it says else must be off."""

    model_config = ConfigDict(frozen=True, extra="allow")

    peft_type: Literal["LORA"]
    task_type: Literal["CAUSAL_LM"]
    r: int = Field(ge=1, le=1024)
    lora_alpha: float = Field(gt=0, le=65536, allow_inf_nan=False)
    use_rslora: bool = False
    target_modules: list[_ModuleName] = Field(min_length=1, max_length=2000)
    """Names of modules, or the ends of them. A single text would be a regular expression."""
    fan_in_fan_out: bool = False
    """Whether the base stores its weights turned, as GPT-2 does."""
    bias: Literal["none"] = "none"
    init_lora_weights: Literal[True, False, "gaussian"] = True
    """Others (PiSSA, OLoRA…) begin by changing the base weights, and belong to those that they left."""

    @model_validator(mode="after")
    def _refuse_others(self) -> Self:
        for name, value in (self.model_extra or {}).items():
            if name not in _HARMLESS and value not in _OFF:
                raise ValueError(f"it asks for {printable_line(name, 60)!r}, which adapters may not have here")
        return self

    @property
    def scaling(self) -> float:
        """The factor s before B·A."""
        return self.lora_alpha / (math.sqrt(self.r) if self.use_rslora else self.r)

    def targets(self, module: str) -> bool:
        """Whether the module of that name, such as model.layers.0.self_attn.q_proj, is one that the adapter changes."""
        return any(module == name or module.endswith(f".{name}") for name in self.target_modules)


@dataclass(frozen=True, slots=True)
class LowRank:
    """What an adapter adds to one linear layer, float32."""

    down: torch.Tensor
    """A, shape (rank, inputs)."""
    up: torch.Tensor
    """B, shape (outputs, rank), without the scaling."""


def read_adapter_config(folder: Path) -> AdapterConfig:
    """Raises ModelDamaged if it cannot be read, ModelRefused if it asks for what adapters may not have."""
    path = folder / ADAPTER_CONFIG
    try:
        if path.stat().st_size > _MAX_CONFIG:
            raise ModelDamaged(f"{path} is damaged: it is too large.")
        content = path.read_bytes()
        if not isinstance(json.loads(content), dict):
            raise ModelDamaged(f"{path} is damaged: it is no JSON object.")
        return AdapterConfig.model_validate_json(content)
    except OSError as error:
        raise ModelDamaged(f"{path} cannot be read: {error.strerror}.") from None
    except ValidationError as error:
        complaint = error.errors()[0]
        place = ".".join(str(key) for key in complaint["loc"]) or "the file"
        reason = complaint["msg"].removeprefix("Value error, ")
        raise ModelRefused(
            printable_line(f"{path} describes no adapter that can be used here: {place}: {reason}.", 400),
            hint="LoRA and rsLoRA of linear layers are, as peft saves them.",
        ) from None
    except (ValueError, RecursionError) as error:
        raise ModelDamaged(f"{path} is damaged: {printable_line(str(error), 200)}.") from None


def read_adapter_weights(folder: Path, config: AdapterConfig) -> dict[str, LowRank]:
    """The matrices by the name of the module that they change; whole, finite and of the rank that `config` says.

    Whether they fit the base is seen where they are put to work. Raises ModelDamaged, ModelRefused.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = folder / ADAPTER_WEIGHTS
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError, RuntimeError) as error:
        raise ModelDamaged(f"{path} is damaged: {printable_line(str(error), 200)}.") from None
    found: dict[str, dict[str, Any]] = {}
    for key, tensor in tensors.items():
        match = _KEY.fullmatch(key)
        if match is None:
            raise ModelRefused(f"{path} holds {printable_line(key, 100)!r}, which is no LoRA of a linear layer.")
        if not tensor.is_floating_point() or tensor.dim() != 2:
            raise ModelDamaged(f"{path} is damaged: {printable_line(key, 100)} is no matrix of numbers.")
        matrix = tensor.to(torch.float32)
        if not torch.isfinite(matrix).all():
            raise ModelDamaged(f"{path} is damaged: {printable_line(key, 100)} holds what is no finite number.")
        found.setdefault(match["module"], {})[match["matrix"]] = matrix
    if not found:
        raise ModelDamaged(f"{path} is damaged: it holds no weights.")
    for module, pair in found.items():
        if pair.keys() != {"A", "B"}:
            raise ModelDamaged(f"{path} is damaged: {module} has one matrix instead of two.")
        if (pair["A"].shape[0], pair["B"].shape[1]) != (config.r, config.r):
            raise ModelDamaged(f"{path} is damaged: {module} has not the rank {config.r} of {ADAPTER_CONFIG}.")
        if not config.targets(module):
            raise ModelDamaged(f"{path} is damaged: {module} is not among the modules of {ADAPTER_CONFIG}.")
    return {module: LowRank(pair["A"], pair["B"]) for module, pair in found.items()}
