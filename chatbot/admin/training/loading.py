"""The base model with an adapter on it, ready to be trained.

The base is frozen, so it may stand in fewer bits than what is trained: bfloat16 halves its memory, 4 bits (QLoRA)
quarter that. The adapter itself stays in float32, because small steps vanish in bfloat16's eight bits. On a CPU
bfloat16 is only quicker where the processor multiplies it natively; elsewhere it is emulated and several times slower,
so it is measured. The format is given while loading, because converting a loaded model would also convert its rotary
buffers.
"""

from __future__ import annotations

import importlib.util
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chatbot.admin.training.attention import choose_attention, register_attention
from chatbot.admin.training.config import TrainingConfig
from chatbot.engine.loading import is_out_of_memory
from chatbot.errors import LearningError, ModelDamaged
from chatbot.files import hash_file
from chatbot.models.library import ModelFolder
from chatbot.models.manifest import ADAPTER_CONFIG, ADAPTER_WEIGHTS, read_manifest
from chatbot.text import printable_line

if TYPE_CHECKING:
    import torch

ADAPTER = "default"


def choose_device() -> str:
    """`cuda`, `mps` or `cpu`: the quickest that is there."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def choose_dtype(config: TrainingConfig, device: str) -> str:
    """The number format of the frozen weights, by name."""
    import torch

    if config.base_dtype != "auto":
        return config.base_dtype
    if device == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float16"
    return "bfloat16" if device == "cpu" and _has_quick_bfloat16() else "float32"


def _has_quick_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 clearly quicker than float32."""
    import torch

    def measure(dtype: torch.dtype) -> float:
        rows, weights = torch.ones(256, 512, dtype=dtype), torch.ones(512, 512, dtype=dtype)
        times = []
        for _ in range(4):
            start = time.perf_counter()
            torch.nn.functional.linear(rows, weights)
            times.append(time.perf_counter() - start)
        return min(times[1:])

    return measure(torch.bfloat16) * 1.2 < measure(torch.float32)


def load_base(model: ModelFolder, config: TrainingConfig, *, dtype: str, device: str) -> Any:
    """The frozen base model on the CPU (quantized: on the GPU). Raises ModelDamaged or LearningError; where memory does
    not suffice, what the allocator raised."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    options: dict[str, Any] = {}
    if config.quantize:
        check_quantization(device)
        from transformers import BitsAndBytesConfig

        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=getattr(torch, dtype),
        )
    register_attention()
    try:
        settings = AutoConfig.from_pretrained(model.path, local_files_only=True, trust_remote_code=False)
        module, info = AutoModelForCausalLM.from_pretrained(
            model.path,
            dtype=getattr(torch, dtype),
            attn_implementation=choose_attention(settings, device=device, longest=config.max_length),
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
            **options,
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise
        reason = printable_line(str(error), 200)
        raise ModelDamaged(f"The weights of {model.name} in {model.path} cannot be read: {reason}") from error
    if info["missing_keys"]:
        raise ModelDamaged(f"{len(info['missing_keys'])} tensors of {model.name} are missing.")
    return module


def check_quantization(device: str) -> None:
    """Raises LearningError that says what is missing for QLoRA."""
    if device != "cuda":
        raise LearningError("QLoRA needs a CUDA device, and PyTorch sees none.", hint="Train without quantization.")
    if importlib.util.find_spec("bitsandbytes") is None:
        raise LearningError("QLoRA needs bitsandbytes.", hint="Install it, or train without quantization.")


def add_adapter(base: Any, config: TrainingConfig, parent: Path | None) -> Any:
    """`base` with a new adapter from the config's seed, or with that of `parent`, to be trained on.

    Raises ModelDamaged if the parent cannot be read.
    """
    from peft import LoraConfig, PeftModel, get_peft_model, prepare_model_for_kbit_training
    from transformers import set_seed

    if config.quantize:
        base = prepare_model_for_kbit_training(base, use_gradient_checkpointing=config.recompute)
    set_seed(config.seed)
    if parent is None:
        settings = LoraConfig(
            task_type="CAUSAL_LM",
            r=config.rank,
            lora_alpha=config.alpha,
            use_rslora=config.rslora,
            lora_dropout=config.dropout,
            target_modules="all-linear",
        )
        model = get_peft_model(base, settings, adapter_name=ADAPTER)
        _shorten_targets(model)
        return model
    if not (parent / ADAPTER_WEIGHTS).is_file():
        raise ModelDamaged(f"{parent / ADAPTER_WEIGHTS} is missing, so {parent.name} is no adapter.")
    try:
        return PeftModel.from_pretrained(base, parent, adapter_name=ADAPTER, is_trainable=True)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        reason = printable_line(str(error), 200)
        raise ModelDamaged(f"The adapter in {parent} cannot be loaded on this base: {reason}") from error


def read_shape(parent: Path) -> dict[str, Any]:
    """What the config of a training on from `parent` must say, since the parent's weights decide it: rank, alpha,
    rslora and dropout. Raises ModelDamaged."""
    try:
        content = json.loads((parent / ADAPTER_CONFIG).read_bytes())
        rank, alpha = content["r"], content["lora_alpha"]
        rslora, dropout = content.get("use_rslora", False), content.get("lora_dropout", 0.0)
        numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in (rank, alpha, dropout))
        if numbers and isinstance(rslora, bool) and (int(rank), int(alpha)) == (rank, alpha):
            return {"rank": int(rank), "alpha": int(alpha), "rslora": rslora, "dropout": float(dropout)}
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError, OverflowError):
        pass
    raise ModelDamaged(
        f"{parent / ADAPTER_CONFIG} does not tell a rank and an alpha in whole numbers.",
        hint="Train from the base instead.",
    )


def _shorten_targets(model: Any) -> None:
    """peft names every layer that `all-linear` found; other programs expect `q_proj` and the like, which say the same.

    Only where no other linear layer, such as the head, has such a name.
    """
    settings = model.peft_config[ADAPTER]
    names = {name.rpartition(".")[2] for name in settings.target_modules}
    base = model.get_base_model()
    head = base.get_output_embeddings()
    if not any(module is head and name.rpartition(".")[2] in names for name, module in base.named_modules()):
        settings.target_modules = names


def check_parent(parent: Path, model: ModelFolder) -> None:
    """Raises LearningError if the adapter in `parent` was not trained on `model`, ModelDamaged if it is not whole."""
    manifest = read_manifest(parent)
    for file in manifest.files:
        if not (parent / file.path).is_file() or hash_file(parent / file.path) != file.sha256:
            raise ModelDamaged(f"{parent / file.path} differs from its manifest.", hint="Train from the base instead.")
    if manifest.base_sha256 != model.sha256:
        raise LearningError(
            f"{parent.name} was trained on another base model than {model.name}.", hint="Train from the base instead."
        )
