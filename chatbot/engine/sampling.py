"""How the next token is drawn from the model's logits.

Order and definitions are those of transformers' logits processors (repetition penalty, temperature, top-k, top-p,
min-p), so that a setting means here what it means everywhere; a test compares them on random logits. Two things differ
in how it is computed, not in what: candidates are cut out of the vocabulary first, so that nothing is sorted that
cannot be drawn, and one uniform number of the request's own generator picks from their cumulative distribution, so
that a reply depends on its seed alone and not on what else the engine does.

Only the engine's process imports this module; torch stands at its top because every line here works on tensors.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence

import torch

from chatbot.engine.choice import Choice
from chatbot.errors import EngineError

_FIRST_GUESS = 256  # a nucleus larger than this is rare; if it is, the whole vocabulary is sorted


def find_candidates(scores: torch.Tensor, choice: Choice) -> tuple[torch.Tensor, torch.Tensor]:
    """The token ids that temperature, top_k, top_p and min_p leave, most probable first, and their probabilities.

    `scores` has the shape (vocabulary,); both results have (candidates,) and the probabilities sum to one.
    """
    if choice.temperature != 1.0:
        # The maximum goes first, so that a temperature near zero makes no infinities.
        scores = (scores - scores.max()) / choice.temperature
    size = scores.shape[-1]
    if 0 < choice.top_k < size:
        # All that tie with the last of the k stay, as in TopKLogitsWarper.
        ids = (scores >= torch.topk(scores, choice.top_k).values[-1]).nonzero()[:, 0]
        kept, order = scores[ids].sort(descending=True, stable=True)
        return _cut(ids[order], kept.softmax(-1), choice)
    if choice.top_p < 1.0 or choice.min_p > 0.0:
        kept, ids = torch.topk(scores, min(_FIRST_GUESS, size))
        probabilities = (kept - scores.logsumexp(-1)).exp()
        nucleus_inside = choice.top_p < 1.0 and bool(probabilities.sum() >= choice.top_p)
        floor_inside = choice.min_p > 0.0 and bool(probabilities[-1] < choice.min_p * probabilities[0])
        if not (nucleus_inside or floor_inside):
            kept, ids = scores.sort(descending=True, stable=True)
            probabilities = kept.softmax(-1)
        return _cut(ids, probabilities, choice)
    return torch.arange(size, device=scores.device), scores.softmax(-1)


def _cut(ids: torch.Tensor, probabilities: torch.Tensor, choice: Choice) -> tuple[torch.Tensor, torch.Tensor]:
    """Cuts the tail that top_p and min_p forbid off candidates that come most probable first."""
    keep = torch.ones_like(ids, dtype=torch.bool)
    if choice.top_p < 1.0:
        keep &= probabilities.cumsum(-1) - probabilities < choice.top_p  # the mass before a token decides
    if choice.min_p > 0.0:
        keep &= probabilities >= choice.min_p * probabilities[0]
    keep[0] = True
    probabilities = probabilities[keep]
    return ids[keep], probabilities / probabilities.sum()


class Sampler:
    """Draws the tokens of one reply. Holds the tokens seen so far (for the penalty) and the reply's own generator."""

    def __init__(self, choice: Choice, prompt: Sequence[int], seed: int | None) -> None:
        self.choice = choice
        self._generator = torch.Generator().manual_seed(secrets.randbits(63) if seed is None else seed)
        self._prompt = prompt
        self._seen: torch.Tensor | None = None

    def draw(self, logits: torch.Tensor) -> int:
        """The next token's id, from float32 logits of the shape (vocabulary,), which stay as they are.

        Raises EngineError if the model computed no usable numbers (a half-precision overflow).
        """
        scores = self._penalize(logits)
        best = int(scores.argmax())
        if not bool(torch.isfinite(scores[best])):
            raise _not_finite()
        token = best
        if self.choice.temperature > 0.0:
            ids, probabilities = find_candidates(scores, self.choice)
            mass = probabilities.cpu().double().cumsum(-1)
            threshold = torch.rand((), dtype=torch.float64, generator=self._generator) * mass[-1]
            index = min(int(torch.searchsorted(mass, threshold, right=True)), len(mass) - 1)
            token = int(ids[index])
        if self._seen is not None:
            self._seen[token] = True
        return token

    def _penalize(self, logits: torch.Tensor) -> torch.Tensor:
        """Keskar et al., CTRL (arXiv:1909.05858): seen tokens lose; prompt and reply both count as seen."""
        penalty = self.choice.repetition_penalty
        if penalty == 1.0:
            return logits
        if self._seen is None:
            self._seen = torch.zeros(logits.shape[-1], dtype=torch.bool, device=logits.device)
            seen = torch.tensor(self._prompt, device=logits.device)
            self._seen[seen[seen < logits.shape[-1]]] = True
        return torch.where(self._seen, torch.where(logits < 0, logits * penalty, logits / penalty), logits)


Logprobs = tuple[float, list[tuple[int, float]]]
"""Of a token, and of the most probable ones at its place by their ids."""


def read_logprobs(logits: torch.Tensor, token: int, count: int) -> Logprobs:
    """The log-probability of `token` and the `count` most probable tokens with theirs, all from the model's own
    distribution: before penalty, temperature and cuts. `logits` has the shape (vocabulary,)."""
    return read_many_logprobs(logits[None], [token], count)[0]


def read_many_logprobs(logits: torch.Tensor, tokens: Sequence[int], count: int) -> list[Logprobs]:
    """`read_logprobs` of several places at once: `logits` has the shape (tokens, vocabulary), float32.

    Raises EngineError if the model computed no usable numbers.
    """
    logprobs = logits.log_softmax(-1)
    drawn = logprobs.gather(1, torch.tensor(tokens, device=logits.device)[:, None])[:, 0].tolist()
    if not all(map(math.isfinite, drawn)):
        raise _not_finite()
    if not count:
        return [(own, []) for own in drawn]
    values, ids = torch.topk(logprobs, min(count, logits.shape[-1]))
    top = zip(ids.tolist(), values.tolist(), strict=True)
    return [(own, list(zip(*row, strict=True))) for own, row in zip(drawn, top, strict=True)]


def _not_finite() -> EngineError:
    return EngineError(
        "The model computed numbers that are not finite.", hint='Try `dtype = "float32"` under [engine].'
    )
