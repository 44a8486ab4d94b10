"""An OpenAI-compatible server that says numbered words at a fixed pace: for tests that must know when each was said.

    python tests/paced_server.py PORT_FILE WORDS_PER_SECOND WORDS LOG_FILE

It is our own server over an engine that counts. Each word is logged with the time of the system-wide monotonic clock
before it is sent, so that a test can tell what a process that was killed must have received.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import IO

from chatbot.engine.protocol import EngineModel, Finished, GenerationRequest, Health, Piece, TokenLogprob
from chatbot.errors import RequestRefused


class PacedEngine:
    """Says «1 2 3 …», `words` of them, and logs `request word time` for each."""

    def __init__(self, rate: float, words: int, log: IO[str]) -> None:
        self._pause = 1 / rate
        self._words = words
        self._log = log
        self._requests = 0

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[Piece | Finished, None]:
        number = self._requests
        self._requests += 1
        start = time.monotonic()
        for word in range(1, self._words + 1):
            await asyncio.sleep(max(0.0, start + word * self._pause - time.monotonic()))
            self._log.write(f"{number} {word} {time.monotonic()}\n")
            self._log.flush()
            yield Piece(f"{word} ")
        yield Finished("stop", prompt_tokens=len(request.messages), completion_tokens=self._words)

    async def score(self, request: GenerationRequest) -> tuple[TokenLogprob, ...]:
        raise RequestRefused(f"{request.model} says numbers and knows no probabilities.")

    async def models(self) -> list[EngineModel]:
        return [EngineModel("paced", 8192)]

    async def health(self) -> Health:
        return Health("ready", "paced words", "paced")

    async def warm(self, model: str) -> None:
        pass

    async def close(self) -> None:
        pass


def main() -> None:
    import uvicorn

    from chatbot.engine.server import build_application

    port_file, rate, words, log_file = sys.argv[1:]
    listener = socket.create_server(("127.0.0.1", 0))
    with Path(log_file).open("a") as log:
        engine = PacedEngine(float(rate), int(words), log)
        server = uvicorn.Server(uvicorn.Config(build_application(engine), log_level="warning", ws="none"))
        Path(port_file).write_text(str(listener.getsockname()[1]))
        asyncio.run(server.serve([listener]))


if __name__ == "__main__":
    main()
