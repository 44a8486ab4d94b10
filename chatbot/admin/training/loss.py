"""The loss of the learnt tokens alone, without ever holding their logits.

Logits are wide: 49,152 numbers a token for SmolLM2, more than everything else that a step computes. They are needed
only where something is learnt, and there only a block of tokens at a time: the gradient of cross entropy with respect
to the hidden state follows from the logits at once (softmax minus the target), so the forward pass computes it block by
block and forgets the logits; the backward pass only scales it. This is the method of Liger's fused linear cross entropy
(Hsu et al. 2024), in plain PyTorch. It is exact: the same terms as the naive loss, in another order.
"""

from __future__ import annotations

import functools
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

_BLOCK = 256  # tokens whose logits are held at once


def sum_losses(hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, labels: torch.Tensor) -> Any:
    """The summed cross entropy of `labels` (n), given `hidden` (n, width) and the frozen `weight` (words, width)."""
    return _make_function().apply(hidden, weight, bias, labels)


@functools.cache
def _make_function() -> Any:
    import torch

    class LearntLoss(torch.autograd.Function):  # type: ignore[misc]
        @staticmethod
        def forward(ctx: Any, hidden: Any, weight: Any, bias: Any, labels: Any) -> Any:
            total = torch.zeros((), dtype=torch.float32, device=hidden.device)
            gradient = torch.empty_like(hidden) if hidden.requires_grad or ctx.needs_input_grad[0] else None
            for start in range(0, len(labels), _BLOCK):
                block = hidden[start : start + _BLOCK]
                target = labels[start : start + _BLOCK]
                logits = torch.nn.functional.linear(block, weight, bias).float()
                peak = logits.max(dim=-1, keepdim=True).values
                chosen = logits.gather(1, target[:, None]) - peak
                logits.sub_(peak).exp_()
                mass = logits.sum(dim=-1, keepdim=True)
                total += (mass.log() - chosen).sum()
                if gradient is not None:
                    logits.div_(mass)
                    logits.scatter_add_(1, target[:, None], torch.full_like(mass, -1.0))
                    gradient[start : start + _BLOCK] = logits.to(weight.dtype) @ weight
            ctx.gradient = gradient
            return total

        @staticmethod
        def backward(ctx: Any, scale: Any) -> Any:
            return (ctx.gradient * scale).to(ctx.gradient.dtype), None, None, None

    return LearntLoss


def learn_only_labels(model: Any) -> None:
    """Teaches `model` (a causal language model of transformers) to answer `forward(..., learnt_loss=True)`.

    The answer is the pair (summed loss, number of learnt tokens). It goes through the model's own forward, so that
    whatever wraps it (peft, DDP) stays in the way that it must see.
    """
    import torch

    forward = model.forward

    @functools.wraps(forward)
    def choose(self: Any, *arguments: Any, learnt_loss: bool = False, labels: Any = None, **options: Any) -> Any:
        if not learnt_loss:
            if labels is not None:
                options["labels"] = labels
            return forward(*arguments, **options)
        states = self.base_model(*arguments, **{**options, "use_cache": False}).last_hidden_state
        following = labels[:, 1:]
        learnt = following != -100
        head = self.get_output_embeddings()
        scale, cap = find_logit_scale(self.config)
        if cap is not None:
            logits = torch.nn.functional.linear(states[:, :-1][learnt], head.weight, head.bias).float() * scale
            logits = cap * torch.tanh(logits / cap)
            loss = torch.nn.functional.cross_entropy(logits, following[learnt], reduction="sum")
        else:
            loss = sum_losses(states[:, :-1][learnt] * scale, head.weight, head.bias, following[learnt])
        # A batch without a learnt token must still have a gradient: other processes wait for it.
        return loss + states.sum() * 0.0 if not bool(learnt.any()) else loss, learnt.sum()

    model.forward = types.MethodType(choose, model)


def find_logit_scale(config: Any) -> tuple[float, float | None]:
    """What the model multiplies its logits by, and where it caps them softly: few models do either."""
    text = config.get_text_config()
    cap = getattr(text, "final_logit_softcapping", None)
    for name in ("logit_scale", "output_multiplier", "lm_head_multiplier"):
        if (value := getattr(text, name, None)) is not None:
            return float(value), cap
    scaling = getattr(text, "logits_scaling", None)
    if scaling:
        return float(scaling if text.model_type == "hyperclovax" else 1 / scaling), cap
    return 1.0, cap
