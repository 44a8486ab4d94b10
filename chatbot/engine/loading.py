"""A model folder becomes a model in memory: device, number format, weights, window, and the errors on the way.

Weights are read from safetensors only, from this machine only, and no code of the model's own is run. The number format
is given while loading: converting a loaded model would also convert its rotary buffers, and greedy text falls apart.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chatbot.config import EngineSettings
from chatbot.errors import ChatbotError, EngineUnavailable, ModelDamaged, ModelRefused, OutOfMemory
from chatbot.models.manifest import MANIFEST
from chatbot.text import printable_line

if TYPE_CHECKING:
    import torch

    from chatbot.engine.choice import Choice
    from chatbot.engine.generation import Decoder
    from chatbot.engine.prefix_cache import PrefixCache
    from chatbot.models.library import ModelFolder
    from chatbot.models.template import ChatTemplate

Stamp = tuple[int, ...]

_CACHE_SHARE = 8  # the kept KV caches may take one part in this many of the device's memory
_MEMORY_HINT = "Take a smaller model, or set a smaller `context` under [engine]."


@dataclass(slots=True)
class LoadedModel:
    """A model ready to answer. `users` counts the requests that hold it or an adapter of it: it is evicted only at
    zero."""

    name: str
    sha256: str
    template: ChatTemplate
    decoder: Decoder
    prefixes: PrefixCache
    """Shared by a base model and its adapters, hence asked with `key`."""
    choice: Choice
    context: int
    stop_ids: frozenset[int]
    detail: str
    base: LoadedModel | None = None
    """Of an adapter: the model whose weights it uses."""
    users: int = 0
    stamp: Stamp = ()
    """Of its manifest when it was read."""

    @property
    def key(self) -> str:
        """Whose a KV cache is: another content under the same name is another model."""
        return f"{self.name} {self.sha256}"


def read_stamp(path: Path) -> Stamp:
    """What changes when the model in the folder `path` is replaced; () if it is gone."""
    try:
        found = (path / MANIFEST).stat()
    except OSError:
        return ()
    return (found.st_ino, found.st_mtime_ns, found.st_size)


def count_threads(asked: int) -> int:
    """Compute threads: as asked, else one for each physical core that this process may use, and no more than
    OMP_NUM_THREADS says."""
    if asked:
        return asked
    import psutil  # type: ignore[import-untyped]  # it ships no types

    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    wanted = os.environ.get("OMP_NUM_THREADS", "")  # who shares a machine says so by it
    limit = int(wanted) if wanted.isdecimal() and int(wanted) else allowed
    return max(1, min(allowed, limit, psutil.cpu_count(logical=False) or allowed))


def choose_device(settings: EngineSettings) -> tuple[torch.device, torch.dtype]:
    """The device and number format: as set, else CUDA bfloat16, MPS float16, CPU float32.

    Raises EngineUnavailable if the device that was set is not there.
    """
    import torch

    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    name = settings.device
    if name == "auto":
        name = "cuda" if present["cuda"] else "mps" if present["mps"] else "cpu"
    if not present[name]:
        raise EngineUnavailable(
            f"There is no {name.upper()} device that PyTorch can use.", hint='Set `device = "auto"` under [engine].'
        )
    natural = {"cuda": torch.bfloat16, "mps": torch.float16, "cpu": torch.float32}[name]
    return torch.device(name), natural if settings.dtype == "auto" else getattr(torch, settings.dtype)


def is_out_of_memory(error: BaseException) -> bool:
    """PyTorch has a class of its own for accelerators, but a plain RuntimeError for the CPU's allocator."""
    import torch

    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(
        sign in str(error) for sign in ("not enough memory", "out of memory", "DefaultCPUAllocator")
    )


def load_model(folder: ModelFolder, settings: EngineSettings) -> LoadedModel:
    """Reads the weights of `folder`, a base model. Takes seconds to minutes; run it off the event loop.

    Raises ModelDamaged, ModelRefused, OutOfMemory or EngineUnavailable.
    """
    from chatbot.engine.choice import read_choice
    from chatbot.engine.generation import Decoder
    from chatbot.engine.kv_cache import make_cache
    from chatbot.engine.prefix_cache import PrefixCache

    device, dtype = choose_device(settings)
    template = folder.load_template(answering=True)
    module = _read_weights(folder, device, dtype)
    context = min(folder.context, settings.context) if settings.context and folder.context else folder.context
    return LoadedModel(
        name=folder.name,
        sha256=folder.sha256,
        template=template,
        decoder=Decoder(module, device),
        prefixes=PrefixCache(
            lambda: make_cache(module),
            sequences=settings.cached_conversations,
            most_bytes=_count_memory(device) // _CACHE_SHARE,
        ),
        choice=read_choice(folder.path),
        context=context or settings.context or 2048,
        stop_ids=template.stop_ids | _read_end_ids(module),
        detail=_describe(device, dtype),
    )


def _read_weights(folder: ModelFolder, device: torch.device, dtype: torch.dtype) -> Any:
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    damaged = f"The weights of {folder.name} in {folder.path} are damaged"
    hint = f"`chatbot models remove {folder.name}`, then fetch it anew."
    try:
        module, info = AutoModelForCausalLM.from_pretrained(
            folder.path,
            dtype=dtype,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
        )
        if missing := sorted(info["missing_keys"]):
            raise ModelDamaged(f"{damaged}: {len(missing)} tensors are missing, such as {missing[0]}.", hint=hint)
        return module.to(device).eval().requires_grad_(False)
    except ChatbotError:
        raise
    except Exception as error:  # whatever a broken file makes a loader raise, the user meets one sentence
        if is_out_of_memory(error):
            raise OutOfMemory(f"{folder.name} does not fit into the memory of {device}.", hint=_MEMORY_HINT) from error
        reason = printable_line(str(error), 200)
        if isinstance(error, SafetensorError | OSError | RuntimeError):
            raise ModelDamaged(f"{damaged}: {reason}", hint=hint) from error
        if isinstance(error, ValueError | KeyError | AttributeError | ImportError):
            raise ModelRefused(f"{folder.name} cannot be loaded as a chat model: {reason}") from error
        # Numbers that make no model: a head count of zero divides by it, a negative size trips an assertion.
        raise ModelDamaged(
            f"{folder.name} in {folder.path} is damaged: {type(error).__name__} while it was read.", hint=hint
        ) from error


def _read_end_ids(module: Any) -> frozenset[int]:
    """The end-of-sequence ids that the model's own generation settings name: one number, a list or none."""
    ids = module.generation_config.eos_token_id if module.generation_config is not None else None
    return frozenset([ids] if isinstance(ids, int) else ids or ())


def _count_memory(device: torch.device) -> int:
    import psutil
    import torch

    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return int(psutil.virtual_memory().total)


def _describe(device: torch.device, dtype: torch.dtype) -> str:
    import torch

    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type.upper()
    threads = f", {torch.get_num_threads()} threads" if device.type == "cpu" else ""
    return f"{name}, {str(dtype).removeprefix('torch.')}{threads}"
