"""The model as it is trained: made from nothing or loaded, its loss, and its optimizers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

from chatbot.admin.pretraining.config import PretrainingConfig
from chatbot.admin.pretraining.muon import Muon
from chatbot.admin.training.loss import find_logit_scale
from chatbot.admin.training.run import quiet

_BLOCK = 1 << 25  # logits that are held for the backward pass; more are computed twice, a block at a time
_BETAS = (0.9, 0.95)


class NextToken(torch.nn.Module):  # type: ignore[misc]
    """A causal language model of transformers whose forward pass is the loss: what DDP and compilation see.

    It stays in the mode of evaluation, where gradients flow as well: nothing is dropped at random, whatever the model's
    own settings say, so that a resumed run needs no state of random numbers.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.eval()

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        """The summed loss, in nats, of all tokens of `windows`, shape (rows, length + 1), but the first of each."""
        model = unwrap(self.model)
        states = model.base_model(input_ids=windows[:, :-1], use_cache=False).last_hidden_state
        head = model.get_output_embeddings()
        scale, cap = find_logit_scale(model.config)
        return sum_losses(
            states.reshape(-1, states.shape[-1]), head.weight, windows[:, 1:].reshape(-1),
            bias=getattr(head, "bias", None), scale=scale, cap=cap,
        )  # fmt: skip


def unwrap(model: Any) -> Any:
    """The model of transformers; LoRA changes its layers in their places."""
    from peft import PeftModel

    return model.get_base_model() if isinstance(model, PeftModel) else model


def sum_losses(
    states: torch.Tensor,
    weight: torch.Tensor,
    targets: torch.Tensor,
    *,
    bias: torch.Tensor | None = None,
    scale: float = 1.0,
    cap: float | None = None,
) -> torch.Tensor:
    """Cross entropy of `targets` (n), given `states` (n, width) and the output layer's `weight` (words, width) and
    `bias` (words); the logits are multiplied by `scale` and bounded softly by `cap`."""

    def loss_of(part: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        logits = torch.nn.functional.linear(part, weight, bias).float() * scale
        if cap is not None:
            logits = cap * torch.tanh(logits / cap)
        return torch.nn.functional.cross_entropy(logits, wanted, reduction="sum")

    block = max(1, _BLOCK // weight.shape[0])
    if len(targets) <= block or not torch.is_grad_enabled():
        return sum((loss_of(*pair) for pair in zip(states.split(block), targets.split(block), strict=True)),
                   start=states.new_zeros((), dtype=torch.float32))  # fmt: skip
    total = states.new_zeros((), dtype=torch.float32)
    for part, wanted in zip(states.split(block), targets.split(block), strict=True):
        total = total + checkpoint(loss_of, part, wanted, use_reentrant=False)
    return total


def make_model(config: PretrainingConfig, vocabulary: int, eos: int) -> Any:
    """A new model in float32, with weights drawn from the seed.

    Matrices begin with a standard deviation of 0.02, those that write into the sum of the layers with 1/√(2·layers) of
    it, so that the sum's size does not grow with the depth (Radford et al. 2019, GPT-2).
    """
    from transformers import AutoModelForCausalLM

    assert config.architecture is not None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = AutoModelForCausalLM.from_config(
            config.architecture.to_config(vocabulary, eos=eos), attn_implementation="sdpa", dtype=torch.float32
        )
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if name.endswith(("o_proj.weight", "down_proj.weight")):
                    weight.mul_(1 / math.sqrt(2 * config.architecture.layers))
    return model


def load_model(path: Path, config: PretrainingConfig) -> Any:
    """A model to read on with, in float32; with LoRA on all linear layers if the configuration says so."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(
        path, dtype=torch.float32, local_files_only=True, use_safetensors=True, trust_remote_code=False
    )
    if not config.lora_rank:
        return model
    from peft import LoraConfig, get_peft_model

    settings = LoraConfig(
        task_type="CAUSAL_LM", r=config.lora_rank, lora_alpha=8, use_rslora=True, lora_dropout=0.0,
        target_modules="all-linear", bias="none",
    )  # fmt: skip
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return get_peft_model(model, settings)


def make_optimizers(model: Any, config: PretrainingConfig) -> list[torch.optim.Optimizer]:
    """One or two, which share the trained weights; each group knows its highest rate as `peak`."""
    head = unwrap(model).get_output_embeddings().weight
    named = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
    hidden = [
        weight for name, weight in named if weight.ndim == 2 and weight is not head and "embed" not in name
    ] if config.optimizer == "muon" else []  # fmt: skip
    chosen = {id(weight) for weight in hidden}
    rest = [weight for _, weight in named if id(weight) not in chosen]
    decayed = [weight for weight in rest if weight.ndim > 1]
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": [weight for weight in rest if weight.ndim <= 1], "weight_decay": 0.0},
    ]
    adam = torch.optim.AdamW(
        [group for group in groups if group["params"]], lr=config.learning_rate, betas=_BETAS, fused=True
    )
    optimizers: list[torch.optim.Optimizer] = [adam]
    if hidden:
        optimizers.append(Muon(hidden, lr=config.matrix_rate, weight_decay=config.weight_decay))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return optimizers


def set_rate(optimizers: list[torch.optim.Optimizer], share: float) -> None:
    """The rate of each group to `share` of its highest."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * share
