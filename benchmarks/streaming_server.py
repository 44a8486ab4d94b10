"""An OpenAI-compatible server that streams Markdown at a fixed pace, for benchmarks of the screen.

python benchmarks/streaming_server.py PORT_FILE WORDS_PER_SECOND
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import sys
import time
from collections.abc import AsyncGenerator
from pathlib import Path

from chatbot.engine.protocol import EngineModel, Finished, GenerationRequest, Health, Piece, TokenLogprob
from chatbot.errors import RequestRefused

PAGE = [
    *("word " * 40).split(" "), "\n\n", "## A ", "heading ", "\n\n",
    *("- an item with *emphasis* and `code`\n " * 4).split(" "), "\n\n",
    "```python\n", *("def word(x: int) -> int:\n    return x ** 2  # comment\n" * 6).split(" "), "```\n\n",
    "| a | b |\n|---|---|\n", *("| word | word |\n" * 3).split(" "), "\n\n",
]  # fmt: skip


class StreamingEngine:
    """Says PAGE over and over, until nobody listens."""

    def __init__(self, rate: float) -> None:
        self._pause = 1 / rate

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[Piece | Finished, None]:
        start = time.monotonic()
        for number, word in enumerate(itertools.chain.from_iterable(itertools.repeat(PAGE, 200))):
            await asyncio.sleep(max(0.0, start + number * self._pause - time.monotonic()))
            yield Piece(f"{word} " if word and not word.endswith("\n") else word or " ")
        yield Finished("stop", prompt_tokens=len(request.messages), completion_tokens=1)

    async def score(self, request: GenerationRequest) -> tuple[TokenLogprob, ...]:
        raise RequestRefused(f"{request.model} says words and knows no probabilities.")

    async def models(self) -> list[EngineModel]:
        return [EngineModel("streaming", 1_000_000)]

    async def health(self) -> Health:
        return Health("ready", "", "streaming")

    async def warm(self, model: str) -> None:
        pass

    async def close(self) -> None:
        pass


def main() -> None:
    import uvicorn

    from chatbot.engine.server import build_application

    port_file, rate = sys.argv[1:]
    listener = socket.create_server(("127.0.0.1", 0))
    Path(port_file).write_text(str(listener.getsockname()[1]))
    application = build_application(StreamingEngine(float(rate)))
    config = uvicorn.Config(application, log_level="warning")
    asyncio.run(uvicorn.Server(config).serve(sockets=[listener]))


if __name__ == "__main__":
    main()
