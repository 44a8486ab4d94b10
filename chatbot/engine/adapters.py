"""A base model in memory becomes another model: the same weights, with an adapter beside them.

Each adapter gets modules of its own around the base's tensors, which are shared and not copied, so the base itself is
never changed: it answers afterwards as before, to the bit, and requests to the base and to several adapters may take
turns step by step with nothing to switch. It takes 0.1 s and the memory of the adapter's own matrices.

The matrices are not merged into the weights. A merged model would be as quick as the base, but it would be a second
copy of it, and in 16 bits rounding would swallow small changes. They are kept in float32, as they were trained and as
peft keeps them: beside bfloat16 weights the sum is made in float32 and rounded once. The layer computes what peft's
computes, in half its operations: of peft's time over the base's, for one token of SmolLM2, three fifths are gone.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from chatbot.errors import ModelDamaged, OutOfMemory
from chatbot.models.adapters import LowRank, read_adapter_config, read_adapter_weights
from chatbot.models.manifest import ADAPTER_WEIGHTS

if TYPE_CHECKING:
    from chatbot.engine.loading import LoadedModel
    from chatbot.models.adapters import AdapterConfig
    from chatbot.models.library import ModelFolder


class LowRankLayer(torch.nn.Module):  # type: ignore[misc]  # torch is not typed for us
    """A linear layer of the base with an adapter's two matrices beside it: base(x) + s·B·A·x."""

    def __init__(self, base: torch.nn.Module, pair: LowRank, scaling: float, device: torch.device) -> None:
        super().__init__()
        self.base = base
        self.register_buffer("down", pair.down.to(device), persistent=False)
        # Turned once here, so that the product needs no look at strides; with the factor in it.
        self.register_buffer("up", (pair.up.to(device) * scaling).t().contiguous(), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`x` has shape (…, inputs); the result (…, outputs) in the base's number format."""
        answer: torch.Tensor = self.base(x)
        low = functional.linear(x.to(torch.float32), self.down)
        flat, low = answer.view(-1, answer.shape[-1]), low.view(-1, low.shape[-1])
        if answer.dtype == torch.float32:
            flat.addmm_(low, self.up)
            return answer
        added = torch.addmm(flat.to(torch.float32), low, self.up)
        return added.to(answer.dtype).view(answer.shape)


def attach_adapter(base: LoadedModel, folder: ModelFolder) -> LoadedModel:
    """The model that `folder`, an adapter of `base`, makes of it. Takes a fraction of a second.

    Raises ModelDamaged, ModelRefused or OutOfMemory; `base` is as before, whatever happens.
    """
    from chatbot.engine.generation import Decoder, Pace
    from chatbot.engine.loading import LoadedModel, is_out_of_memory

    config = read_adapter_config(folder.path)
    pairs = read_adapter_weights(folder.path, config)
    device = base.decoder.device
    # A base that was taught no chat answers in another format than what an adapter makes of it.
    template = folder.load_template(answering=True) if folder.foundation.manifest.answers == "text" else base.template
    try:
        module = share_module(base.decoder.module)
        _insert(module, pairs, config, folder, device)
    except Exception as error:
        if is_out_of_memory(error):
            raise OutOfMemory(f"The adapter {folder.name} does not fit into the memory of {device}.") from error
        raise
    return LoadedModel(
        name=folder.name,
        sha256=folder.sha256,
        template=template,
        decoder=Decoder(module, device, Pace(base.decoder.pace.chunk)),
        prefixes=base.prefixes,
        choice=base.choice,
        context=base.context,
        stop_ids=base.stop_ids | template.stop_ids,
        detail=f"{base.detail}, {base.name} with an adapter of rank {config.r}",
        base=base,
    )


def share_module(module: Any) -> Any:
    """A copy of a model's modules that holds the very same parameters and buffers."""
    tensors = {
        id(tensor): tensor
        for part in module.modules()
        for tensor in (*part._parameters.values(), *part._buffers.values())
        if tensor is not None
    }
    return copy.deepcopy(module, dict(tensors))


def _insert(
    module: Any, pairs: dict[str, LowRank], config: AdapterConfig, folder: ModelFolder, device: torch.device
) -> None:
    """Puts a LowRankLayer in the place of each layer that the adapter changes."""
    from transformers.pytorch_utils import Conv1D  # GPT-2's linear layer

    where = f"{folder.path / ADAPTER_WEIGHTS} does not fit {folder.foundation.name}"
    linear = {
        name: part for name, part in module.named_modules() if isinstance(part, torch.nn.Linear | Conv1D) and name
    }
    if strange := sorted(pairs.keys() - linear.keys()):
        raise ModelDamaged(f"{where}: it has no linear layer {strange[0]}.")
    if missing := sorted(name for name in linear if config.targets(name) and name not in pairs):
        raise ModelDamaged(f"{where}: there is nothing for the layer {missing[0]}.")
    for name, pair in pairs.items():
        layer = linear[name]
        size = (layer.nf, layer.nx) if isinstance(layer, Conv1D) else (layer.out_features, layer.in_features)
        if (pair.up.shape[0], pair.down.shape[1]) != size:
            raise ModelDamaged(
                f"{where}: {name} maps {size[1]} numbers to {size[0]}, the adapter "
                f"{pair.down.shape[1]} to {pair.up.shape[0]}."
            )
        parent, _, own = name.rpartition(".")
        setattr(module.get_submodule(parent), own, LowRankLayer(layer, pair, config.scaling, device))
