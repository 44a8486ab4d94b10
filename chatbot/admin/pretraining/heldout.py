"""How well a model predicts text that it was not trained on: nats a token and bits a byte.

Nats a token compare only models that cut text in the same way. Bits a byte do not depend on the tokenizer: all the
surprise of the text, divided by its length in bytes; it is also how far the model would compress it. The text is read
in windows that do not overlap, so the first tokens of each are guessed from little; that is the stricter way.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from chatbot.admin.pretraining.windows import Tokens

_BATCH = 1 << 13  # tokens


@dataclass(frozen=True, slots=True)
class Score:
    """What a held-out part said."""

    nats: float
    """All of it, summed."""
    tokens: int
    """That were predicted."""
    text_bytes: float
    """UTF-8 bytes of them; the share of the whole if only a part was read."""

    @property
    def loss(self) -> float:
        """Nats a token."""
        return self.nats / max(self.tokens, 1)

    @property
    def bits_per_byte(self) -> float:
        return self.nats / math.log(2) / max(self.text_bytes, 1e-9)

    @property
    def perplexity(self) -> float:
        return math.exp(min(self.loss, 700.0))


def score(
    sum_losses: Callable[[torch.Tensor], torch.Tensor],
    tokens: Tokens,
    text_bytes: int,
    *,
    length: int,
    limit: int | None = None,
    device: str = "cpu",
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Score:
    """Reads `tokens`, at most `limit` of them, in windows of `length`. `sum_losses` takes windows of shape
    (rows, length + 1) and gives their summed loss. Raises ValueError if there are fewer than two tokens."""
    if len(tokens) < 2:
        raise ValueError("nothing is held out")
    predicted = min(len(tokens) - 1, limit or len(tokens) - 1)
    length = min(length, predicted)
    nats, done = 0.0, 0
    with torch.no_grad():
        rows = max(1, _BATCH // length)
        while done < predicted:
            whole = min(rows, (predicted - done) // length)
            width = length if whole else predicted - done
            windows = np.stack([tokens.window(done + row * width, width + 1) for row in range(max(1, whole))])
            nats += float(sum_losses(torch.from_numpy(windows).to(device)))
            done += windows.shape[0] * width
            on_progress(done, predicted)
    return Score(nats, predicted, text_bytes * predicted / (len(tokens) - 1))
