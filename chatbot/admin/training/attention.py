"""Attention for packed rows: each row within a packed row by itself.

transformers can do the same with one square mask over the whole packed row, but then computes every pair of tokens,
also those that the mask hides: at 1,024 tokens of short rows on a CPU about a quarter of the whole step. Here each row
is a causal attention of its own, which is the same sum in fewer terms. GPUs have kernels for that already
(FlashAttention); there transformers' own is used.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

NAME = "chatbot_rows"


def choose_attention(config: Any, *, device: str, longest: int) -> str:
    """The name of the attention that is exact and quick for a model of `config` with rows of `longest` tokens."""
    text = config.get_text_config()
    if getattr(text, "attn_logit_softcapping", None) is not None:
        return "eager"  # the others leave the cap out
    window = getattr(text, "sliding_window", None)
    kinds = set(getattr(text, "layer_types", None) or ["full_attention"])
    if device != "cpu" or kinds - {"full_attention", "sliding_attention"} or (window is not None and window < longest):
        return "sdpa"
    return NAME


def register_attention() -> None:
    """Makes NAME known to transformers; may be called again."""
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, attend)


def attend(
    module: Any, query: Any, key: Any, value: Any, attention_mask: Any, cu_seq_lens_q: Any = None, **options: Any
) -> tuple[Any, None]:
    """In transformers' form: query (1, heads, tokens, size) to output (1, tokens, heads, size).

    `cu_seq_lens_q` are the places where the rows begin, and the end. Without it there is one row; rows padded on their
    right need no mask, since nothing looks to the right.
    """
    import torch
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    del attention_mask  # the borders say it
    if cu_seq_lens_q is None or len(cu_seq_lens_q) <= 2:
        return sdpa_attention_forward(module, query, key, value, None, **options)[0], None
    places = cu_seq_lens_q.tolist()
    parts = [
        sdpa_attention_forward(
            module, query[:, :, start:end], key[:, :, start:end], value[:, :, start:end], None, **options
        )[0]
        for start, end in pairwise(places)
    ]
    return torch.cat(parts, dim=1), None
