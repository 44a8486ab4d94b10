"""The result of a run: an adapter's folder, whole or not there.

It is a plain peft adapter, which other tools load too, with the manifest of this program beside it. What the
configuration names as base is the base's name: a path of the machine that trained it is nobody's business.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chatbot.files import hash_file, new_folder, write_file
from chatbot.models.library import ModelFolder
from chatbot.models.manifest import MANIFEST, FileRecord, Manifest

if TYPE_CHECKING:
    import torch


def write_adapter(
    target: Path, weights: dict[str, torch.Tensor], settings: Any, *, base: ModelFolder, run: str, adapter: str
) -> Manifest:
    """Makes the folder `target`. Raises OSError, FileExistsError if it is there.

    `weights` are named as in the peft model, with the name of the `adapter` inside; `settings` are its LoraConfig.
    """
    from safetensors.torch import save_file

    plain = {name.replace(f".{adapter}.", "."): value.contiguous() for name, value in sorted(weights.items())}
    content = {
        **settings.to_dict(),
        "base_model_name_or_path": base.name,
        "inference_mode": True,
        "revision": None,
    }
    with new_folder(target) as folder:
        write_file(
            folder / "adapter_config.json",
            json.dumps({key: content[key] for key in sorted(content)}, indent=2, default=sorted),
        )
        save_file(plain, folder / "adapter_model.safetensors", metadata={"format": "pt"})
        manifest = Manifest.model_validate(
            {
                "name": target.name,
                "source": f"run:{run}",
                "licence": base.manifest.licence,
                "architecture": base.manifest.architecture,
                "dtype": base.manifest.dtype,
                "parameters": sum(value.numel() for value in plain.values()),
                "context": base.manifest.context,
                "template_sha256": base.manifest.template_sha256,
                "created": datetime.now(UTC).isoformat(timespec="seconds"),
                "files": [
                    FileRecord(path=path.name, size=path.stat().st_size, sha256=hash_file(path))
                    for path in sorted(folder.iterdir())
                ],
                "kind": "adapter",
                "base": base.name,
                "base_sha256": base.sha256,
                "tokenizer_sha256": hash_file(base.path / "tokenizer.json"),
            }
        )
        write_file(folder / MANIFEST, manifest.model_dump_json(indent=2))
    return manifest
