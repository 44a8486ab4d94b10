"""Tokens in, tokens out: the loop that turns a prompt into a reply, one sequence at a time.

Prefill and decode are apart: the prompt goes through the model in chunks, each short enough that a cancelled request
stops within a fifth of a second, then tokens come one by one. The loop is a generator that gives the word back after
each piece of work, so that a scheduler can serve several replies in turn, and closing it ends the computation. It is
checked token for token against transformers' `generate`. Sequences are computed one by one and never batched: a
matrix product rounds differently in a batch, and the same seed shall give the same text whatever else runs.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from chatbot.engine.sampling import Sampler, read_logprobs, read_many_logprobs

_STEP_SECONDS = 0.1  # the aim for one chunk of prefill: half of the 200 ms within which a cancel must be obeyed
_FIRST_CHUNK = 32  # what a prompt begins with, until a pass was timed
# Shorter ones are hardly quicker, and a pace that tried them would fall to one token at a time. On a slow machine one
# of 32 tokens took 192 ms and so broke the promise; one of 16 took 144 (9 ms a token instead of 6, the price of it).
_SMALLEST_CHUNK = 16
_LARGEST_CHUNK = 4096
_SCORED_CHUNK = 64  # tokens whose logits exist at one time: 64 × 150,000 words of a vocabulary × 4 bytes = 38 MB


@dataclass(frozen=True, slots=True)
class Token:
    """One generated token; log-probabilities only if they were asked for."""

    id: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()


@dataclass(slots=True)
class Pace:
    """How many tokens of a prompt one chunk takes, learnt from the time that chunks took on this machine."""

    chunk: int = _FIRST_CHUNK

    def learn(self, tokens: int, seconds: float) -> None:
        """Aims the next chunk at `_STEP_SECONDS`; grows at most fourfold, since a short one says little."""
        if tokens < self.chunk and seconds < _STEP_SECONDS:
            return  # the rest of a prompt was shorter than a chunk
        aimed = int(tokens * _STEP_SECONDS / max(seconds, 1e-6))
        self.chunk = max(_SMALLEST_CHUNK, min(aimed, self.chunk * 4, _LARGEST_CHUNK))


@dataclass(slots=True)
class Decoder:
    """A causal language model of transformers behind the two calls that generation needs.

    `fill` feeds tokens that nothing is drawn after; `read` feeds tokens and returns the logits after the last one,
    `read_each` those after each of them.
    """

    module: Any
    device: torch.device
    pace: Pace = field(default_factory=Pace)
    _cache_argument: str = ""
    _keeps_logits: bool = False

    def __post_init__(self) -> None:
        # transformers renamed `past_key_values` to `cache` in 5.20; the old name warns there.
        parameters = inspect.signature(self.module.forward).parameters
        self._cache_argument = "cache" if "cache" in parameters else "past_key_values"
        self._keeps_logits = "logits_to_keep" in parameters

    def fill(self, tokens: Sequence[int], cache: Any) -> None:
        """Extends `cache` by `tokens`; skips the vocabulary-sized product, whose result nobody reads."""
        ids = torch.tensor([tokens], device=self.device)
        self.module.base_model(input_ids=ids, use_cache=True, **{self._cache_argument: cache})
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)  # kernels run later than they are called; the pace must see them

    def read(self, tokens: Sequence[int], cache: Any) -> torch.Tensor:
        """Extends `cache` by `tokens`; returns the float32 logits after the last, shape (vocabulary,)."""
        ids = torch.tensor([tokens], device=self.device)
        keep = {"logits_to_keep": 1} if self._keeps_logits else {}
        logits = self.module(input_ids=ids, use_cache=True, **{self._cache_argument: cache}, **keep).logits
        row: torch.Tensor = logits[0, -1].to(torch.float32)
        return row

    def read_each(self, tokens: Sequence[int], cache: Any) -> torch.Tensor:
        """Extends `cache` by `tokens`; returns the float32 logits after each, shape (tokens, vocabulary)."""
        ids = torch.tensor([tokens], device=self.device)
        logits = self.module(input_ids=ids, use_cache=True, **{self._cache_argument: cache}).logits
        rows: torch.Tensor = logits[0].to(torch.float32)
        return rows


def generate(
    decoder: Decoder,
    prompt: Sequence[int],
    cache: Any,
    sampler: Sampler,
    *,
    reused: int = 0,
    limit: int,
    top_logprobs: int | None = None,
) -> Iterator[Token | None]:
    """Yields None after each chunk of the prompt and a Token after each drawn one, at most `limit` of them.

    `cache` holds the first `reused` < len(prompt) tokens of the prompt already. It is extended in place and at any
    moment holds the prompt and the tokens yielded before the newest. The reader stops reading at a stop token.
    """
    position = yield from _fill(decoder, prompt, cache, reused)
    tokens: Sequence[int] = prompt[position:]
    for _ in range(limit):
        with torch.inference_mode():
            logits = decoder.read(tokens, cache)
            token = sampler.draw(logits)
            if top_logprobs is None:
                drawn = Token(token)
            else:
                logprob, top = read_logprobs(logits, token, top_logprobs)
                drawn = Token(token, logprob, tuple(top))
        yield drawn
        tokens = (token,)


def score(
    decoder: Decoder, prompt: Sequence[int], reply: Sequence[int], cache: Any, *, reused: int = 0, top_logprobs: int = 0
) -> Iterator[list[Token] | None]:
    """Reads a reply, not empty, that is there already (teacher forcing): yields None after each chunk of the prompt,
    then the tokens of the reply, some at a time, each with its log-probabilities.

    `cache` holds the first `reused` < len(prompt) tokens of the prompt; at the end it holds all but the last token.
    """
    position = yield from _fill(decoder, prompt, cache, reused)
    if position < len(prompt) - 1:
        with torch.inference_mode():
            decoder.fill(prompt[position:-1], cache)
        yield None
    tokens = [prompt[-1], *reply[:-1]]  # each is followed by the one that its logits judge
    chunk = min(_SCORED_CHUNK, decoder.pace.chunk)
    for done in range(0, len(tokens), chunk):
        judged = reply[done : done + chunk]
        with torch.inference_mode():
            logits = decoder.read_each(tokens[done : done + chunk], cache)
            found = read_many_logprobs(logits, judged, top_logprobs)
        yield [Token(token, own, tuple(top)) for token, (own, top) in zip(judged, found, strict=True)]


def _fill(decoder: Decoder, prompt: Sequence[int], cache: Any, position: int) -> Generator[None, None, int]:
    """Reads the prompt from `position` on, a chunk at a step; returns where the last chunk, which is left to the
    caller, begins: it has the prompt's last token at least."""
    while position < len(prompt) - 1 and len(prompt) - position > decoder.pace.chunk:
        chunk = prompt[position : min(position + decoder.pace.chunk, len(prompt) - 1)]
        started = time.perf_counter()
        with torch.inference_mode():
            decoder.fill(chunk, cache)
        decoder.pace.learn(len(chunk), time.perf_counter() - started)
        position += len(chunk)
        yield None
    return position
