"""An engine that replays a script: for the tests of rooms that need replies but no model."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Sequence

from chatbot.engine.protocol import EngineModel, Finished, FinishReason, GenerationRequest, Health, Piece, TokenLogprob

_USUAL = (-0.02, -0.6, -1.7, -0.2, -4.2)  # from certain to a surprise, so that every shade is met soon


class ScriptedEngine:
    """Answers each request with the next of `replies`, cut in pieces; an exception in a script is raised there.

    `requests` keeps what was asked, `scored` what was to be scored, and `closed_early` how many streams their reader
    left before the end.
    """

    def __init__(
        self,
        replies: Sequence[Sequence[str | Piece | Exception]],
        *,
        delay: float = 0.0,
        reason: FinishReason = "stop",
        context: int = 2048,
        scores: Sequence[Sequence[TokenLogprob] | Exception] = (),
        names: Sequence[str] = ("scripted",),
    ) -> None:
        """`scores` are the answers to `score`, one after the other; without any, each word of a reply is a token with
        a probability and two alternatives that depend on its place only. `names` are the models that are there."""
        self._replies = list(replies)
        self._delay = delay
        self._reason: FinishReason = reason
        self._context = context
        self._scores = list(scores)
        self._names = tuple(names)
        self.requests: list[GenerationRequest] = []
        self.scored: list[GenerationRequest] = []
        self.closed_early = 0

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[Piece | Finished, None]:
        script = self._replies[len(self.requests) % len(self._replies)]
        self.requests.append(request)
        try:
            for part in script:
                await asyncio.sleep(self._delay)
                if isinstance(part, Exception):
                    raise part
                yield part if isinstance(part, Piece) else Piece(part)
            words = sum(len(message.content.split()) for message in request.messages)
            yield Finished(self._reason, prompt_tokens=words, completion_tokens=len(script))
        except (GeneratorExit, asyncio.CancelledError):
            self.closed_early += 1
            raise

    async def score(self, request: GenerationRequest) -> tuple[TokenLogprob, ...]:
        self.scored.append(request)
        await asyncio.sleep(self._delay)
        if not self._scores:
            return _score_words(request.messages[-1].content, request.sampling.top_logprobs or 0)
        scores = self._scores[(len(self.scored) - 1) % len(self._scores)]
        if isinstance(scores, Exception):
            raise scores
        return tuple(scores)

    async def models(self) -> list[EngineModel]:
        return [EngineModel(name, self._context) for name in self._names]

    async def health(self) -> Health:
        return Health("ready", "scripted replies", self._names[0])

    async def warm(self, model: str) -> None:
        pass

    async def close(self) -> None:
        pass


def _score_words(text: str, count: int) -> tuple[TokenLogprob, ...]:
    """A token for each word with the space before it; the last has the space at the end too."""
    words = re.findall(r"\s*\S+(?:\s+$)?", text) or [text]
    tokens = []
    for place, word in enumerate(words):
        logprob = _USUAL[place % len(_USUAL)]
        others = ((" either", logprob - 1.5), (" or", -0.9 if logprob < -1 else logprob - 3.0))
        top = sorted([(word, logprob), *others], key=lambda entry: -entry[1])
        tokens.append(TokenLogprob(word, logprob, tuple(top[:count])))
    return tuple(tokens)
