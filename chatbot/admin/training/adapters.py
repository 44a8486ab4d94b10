"""The result of a run as peft saves one: two files, which other tools load too.

What the configuration names as base is the base's name: a path of the machine that trained it is nobody's business.
The library gives it a manifest when it takes it in; see `chatbot.models.installation`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chatbot.files import write_file
from chatbot.models.manifest import ADAPTER_CONFIG, ADAPTER_WEIGHTS

if TYPE_CHECKING:
    import torch


def save_adapter(folder: Path, weights: dict[str, torch.Tensor], settings: Any, *, base: str, adapter: str) -> None:
    """Writes the two files into `folder`. Raises OSError, SafetensorError.

    `weights` are named as in the peft model, with the name of the `adapter` inside; `settings` are its LoraConfig.
    """
    from safetensors.torch import save_file

    plain = {name.replace(f".{adapter}.", "."): value.contiguous() for name, value in sorted(weights.items())}
    content = {
        **settings.to_dict(),
        "base_model_name_or_path": base,
        "inference_mode": True,
        "revision": None,
    }
    write_file(
        folder / ADAPTER_CONFIG,
        json.dumps({key: content[key] for key in sorted(content)}, indent=2, default=sorted),
    )
    save_file(plain, folder / ADAPTER_WEIGHTS, metadata={"format": "pt"})
