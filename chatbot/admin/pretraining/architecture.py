"""The shape of a model that is trained from nothing, and what each number in it does.

It is Llama's architecture, built from transformers' own classes, so that everything that loads models loads it too. A
model of it turns the ids of some tokens into a guess of the next one, at every place at once:

    x = E[token]                                      embedding: one row of `width` numbers for each token
    for each of `layers` layers:
        x = x + Attention(RMSNorm(x))                 look at earlier tokens
        x = x + FeedForward(RMSNorm(x))               think about what was seen
    logits = RMSNorm(x) · Eᵀ                          how likely each token of the vocabulary comes next

- Attention (Vaswani et al. 2017, "Attention Is All You Need", arXiv:1706.03762): each of `heads` heads makes from x a
  query, a key and a value of width/heads numbers, and mixes the values of earlier places by how well query and key
  agree: softmax(Q·Kᵀ / √d)·V. Several query heads may share one key and value head (`kv_heads`; Ainslie et al. 2023,
  arXiv:2305.13245), which saves memory when it answers.
- Rotary embedding (Su et al. 2021, arXiv:2104.09864): query and key are turned by an angle that grows with their place,
  so that their product depends on how far apart they stand. `rotary_base` sets the slowest turn.
- RMSNorm (Zhang & Sennrich 2019, arXiv:1910.07467): x / √(mean(x²) + ε) · g keeps the numbers at one scale.
- Feed-forward with SwiGLU (Shazeer 2020, arXiv:2002.05202): W₂·(SiLU(W₁·x) ⊙ W₃·x), `hidden` numbers wide inside;
  8/3 of the width costs as much as the classic four times without the gate.
- The embedding E is used at both ends (Press & Wolf 2016, arXiv:1608.05859) where `tied`: in a small model it is a good
  part of all parameters.
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from chatbot.errors import InvalidInput

_MOST = 1 << 16  # bytes of a file that describes a model


@dataclass(frozen=True, slots=True)
class Architecture:
    """The numbers that make a model, but for its vocabulary."""

    layers: int
    width: int
    """Numbers for each token, between the layers."""
    heads: int
    kv_heads: int
    hidden: int
    """Width inside the feed-forward part."""
    context: int
    """The window in tokens."""
    tied: bool = True
    """Whether the embedding is the output layer too."""
    rotary_base: float = 10_000.0

    def check(self) -> Architecture:
        """Itself. Raises InvalidInput if the numbers make no model."""
        for name in ("layers", "width", "heads", "kv_heads", "hidden", "context"):
            if not 1 <= getattr(self, name) <= 1 << 20:
                raise InvalidInput(f"{name} of a model must be between 1 and {1 << 20:,}.")
        if self.width % self.heads or (self.width // self.heads) % 2:
            raise InvalidInput(
                f"A width of {self.width} cannot be shared by {self.heads} heads: each takes an even number of it."
            )
        if self.heads % self.kv_heads:
            raise InvalidInput(f"{self.heads} heads cannot share {self.kv_heads} key and value heads evenly.")
        if not 1 < self.rotary_base < float("inf"):
            raise InvalidInput("rotary_base must be more than 1.")
        return self

    def count_parameters(self, vocabulary: int) -> int:
        """Of the whole model: L·(2·W² + 2·W²·kv/heads + 3·W·H + 2·W) + W + V·W, the last twice if not tied."""
        width = self.width
        attention = 2 * width * width + 2 * width * (width * self.kv_heads // self.heads)
        layer = attention + 3 * width * self.hidden + 2 * width
        return self.layers * layer + width + vocabulary * width * (1 if self.tied else 2)

    def count_flops(self, vocabulary: int) -> float:
        """Operations a token that a training step takes: six for each parameter that is multiplied (two forward, four
        backward; Kaplan et al. 2020, arXiv:2001.08361), and twelve for each place and number of attention."""
        multiplied = self.count_parameters(vocabulary) - (0 if self.tied else vocabulary * self.width)
        return 6.0 * multiplied + 12.0 * self.layers * self.width * self.context

    def to_config(self, vocabulary: int, *, eos: int) -> Any:
        """As transformers describes it: a LlamaConfig."""
        from transformers import LlamaConfig

        return LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=self.width,
            intermediate_size=self.hidden,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            num_key_value_heads=self.kv_heads,
            max_position_embeddings=self.context,
            rope_theta=self.rotary_base,
            tie_word_embeddings=self.tied,
            bos_token_id=eos,
            eos_token_id=eos,
            pad_token_id=None,
            use_cache=True,
        )


SIZES: dict[str, Architecture] = {
    "nano": Architecture(layers=4, width=128, heads=4, kv_heads=4, hidden=344, context=256),
    "micro": Architecture(layers=6, width=320, heads=5, kv_heads=5, hidden=856, context=512),
    "mini": Architecture(layers=12, width=512, heads=8, kv_heads=4, hidden=1368, context=1024),
    "small": Architecture(layers=30, width=576, heads=9, kv_heads=3, hidden=1536, context=2048),
    "medium": Architecture(layers=32, width=960, heads=15, kv_heads=5, hidden=2560, context=2048),
    "large": Architecture(layers=16, width=2048, heads=32, kv_heads=8, hidden=8192, context=4096),
}
"""By name, from under a million parameters to a billion (`small`, `medium` and `large` have the shapes of SmolLM2 135M,
SmolLM2 360M and Llama 3.2 1B)."""


def read_architecture(path: Path) -> Architecture:
    """From a TOML or JSON file with the fields of `Architecture`. Raises InvalidInput."""
    try:
        if path.stat().st_size > _MOST:
            raise InvalidInput(f"{path} is too large to describe a model.")
        text = path.read_text("utf-8")
        content = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from None
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{path} is no {'JSON' if path.suffix == '.json' else 'TOML'}: {error}.") from None
    return from_fields(content, str(path))


def from_fields(content: Any, where: str) -> Architecture:
    """Raises InvalidInput naming what is missing, unknown or of the wrong kind."""
    known = {field.name for field in fields(Architecture)}
    if not isinstance(content, dict) or set(content) - known:
        strange = min(set(content) - known) if isinstance(content, dict) else "no table"
        raise InvalidInput(
            f"{where}: {strange!r} is nothing that a model has.", hint=f"It has {', '.join(sorted(known))}."
        )
    values = asdict(SIZES["nano"]) | content
    for name, value in content.items():
        wanted = {"tied": bool, "rotary_base": (int, float)}.get(name, int)
        if not isinstance(value, wanted) or (name != "tied" and isinstance(value, bool)):  # type: ignore[arg-type]
            raise InvalidInput(f"{where}: {name} must be {'true or false' if name == 'tied' else 'a number'}.")
    if "hidden" not in content:
        values["hidden"] = -(-values["width"] * 8 // 3) // 8 * 8
    if "kv_heads" not in content:
        values["kv_heads"] = values["heads"]
    return Architecture(**values).check()
