"""An engine that replays a script: for the tests of rooms that need replies but no model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence

from chatbot.engine.protocol import EngineModel, Finished, FinishReason, GenerationRequest, Health, Piece


class ScriptedEngine:
    """Answers each request with the next of `replies`, cut in pieces; an exception in a script is raised there.

    `requests` keeps what was asked and `closed_early` how many streams their reader left before the end.
    """

    def __init__(
        self,
        replies: Sequence[Sequence[str | Exception]],
        *,
        delay: float = 0.0,
        reason: FinishReason = "stop",
        context: int = 2048,
    ) -> None:
        self._replies = list(replies)
        self._delay = delay
        self._reason: FinishReason = reason
        self._context = context
        self.requests: list[GenerationRequest] = []
        self.closed_early = 0

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[Piece | Finished, None]:
        script = self._replies[len(self.requests) % len(self._replies)]
        self.requests.append(request)
        try:
            for part in script:
                await asyncio.sleep(self._delay)
                if isinstance(part, Exception):
                    raise part
                yield Piece(part)
            words = sum(len(message.content.split()) for message in request.messages)
            yield Finished(self._reason, prompt_tokens=words, completion_tokens=len(script))
        except (GeneratorExit, asyncio.CancelledError):
            self.closed_early += 1
            raise

    async def models(self) -> list[EngineModel]:
        return [EngineModel("scripted", self._context)]

    async def health(self) -> Health:
        return Health("ready", "scripted replies", "scripted")

    async def warm(self, model: str) -> None:
        pass

    async def close(self) -> None:
        pass
