"""Log-probabilities of replies for DPO and KTO, without padding and without logits where there is no reply.

TRL's preference trainers pad their batches and, on devices without Triton, project every position to the vocabulary.
Here the rows of a batch are laid end to end as in packing, and only what a reply's tokens need is projected, by TRL's
own chunked function. What the trainer reads from the answer beyond the log-probabilities are figures for its log
(entropy, mean logits, top-1); nobody reads them here, so they are zero.
"""

from __future__ import annotations

import functools
import types
from typing import Any

import torch
from trl.kernels.chunked_logprob import ChunkedLogProbFunction
from trl.trainer.utils import FusedCausalLMOutput

from chatbot.admin.training.loss import find_logit_scale

_WORDS = 8192  # of the vocabulary that are projected at once


def score_only_replies(model: Any) -> None:
    """Replaces how `model` (a causal language model, prepared by TRL) answers `forward(..., fused_lm_head=True)`."""
    forward = model.forward
    if getattr(model.config.get_text_config(), "output_router_logits", False):
        return  # experts add a loss of their own, which TRL's forward computes

    @functools.wraps(forward)
    def choose(self: Any, *arguments: Any, fused_lm_head: bool = False, labels: Any = None, **options: Any) -> Any:
        if not fused_lm_head:
            if labels is not None:
                options["labels"] = labels
            return forward(*arguments, **options)
        ids, mask = options["input_ids"], options["attention_mask"].bool()
        states = self.base_model(**lay_end_to_end(ids, mask), use_cache=False).last_hidden_state[0]
        learnt = labels[:, 1:] != -100
        place = torch.zeros_like(ids)
        place[mask] = torch.arange(int(mask.sum()), device=ids.device)
        head = self.get_output_embeddings()
        scale, cap = find_logit_scale(self.config)
        found = ChunkedLogProbFunction.apply(
            states[place[:, :-1][learnt]],
            head.weight,
            head.bias,
            labels[:, 1:][learnt],
            1.0,
            _WORDS,
            cap,
            scale,
            ("log_probs",),
        )[0]
        scores = found.new_zeros(learnt.shape).masked_scatter(learnt, found)
        nothing = torch.zeros_like(scores)
        return FusedCausalLMOutput(
            loss=-scores.sum() / learnt.sum().clamp(min=1),
            log_probs=scores,
            entropy=nothing,
            log_sum_sq_probs=nothing,
            mean_logits=nothing,
            is_top1=nothing.bool(),
            label_mask=learnt,
            aux_loss=None,
        )

    model.forward = types.MethodType(choose, model)


def lay_end_to_end(ids: torch.Tensor, mask: torch.Tensor) -> dict[str, Any]:
    """Rows (n, tokens) padded on the right, as one row (1, all tokens) with positions and borders."""
    lengths = mask.sum(dim=1)
    borders = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)]).to(torch.int32)
    positions = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)[mask]
    longest = int(lengths.max())
    return {
        "input_ids": ids[mask][None],
        "position_ids": positions[None],
        "cu_seq_lens_q": borders,
        "cu_seq_lens_k": borders,
        "max_length_q": longest,
        "max_length_k": longest,
    }
