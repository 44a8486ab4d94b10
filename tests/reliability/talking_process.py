"""A process that holds one conversation after another until it is killed, for `test_kill_manager`.

It forks on each line of its standard input (a name for the child), because importing everything a hundred times would
take longer than the test itself. Each child tells on standard output, in lines of one write each, what it has received
and when: `<name> <event> <monotonic time> <JSON>`. A child's first line carries its process number.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import resource
import sys
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

from chatbot.config import Settings, find_home
from chatbot.dialogue.events import ReplyEnded, ReplyStarted, TextAdded
from chatbot.dialogue.manager import Manager
from chatbot.engine.protocol import Finished, GenerationRequest, Piece
from chatbot.engine.scripted import ScriptedEngine
from chatbot.errors import ChatbotError
from chatbot.store.database import Store

SETTINGS = Settings(model="scripted")


class UnsteadyEngine(ScriptedEngine):
    """Replies of 1 to 60 words, at 50 to 1,000 a second, with pauses between."""

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[Piece | Finished, None]:
        delay = random.uniform(0.001, 0.02)
        words = random.choice([1, 5, 60, 60])
        for number in range(words):
            await asyncio.sleep(0.3 if random.random() < 0.03 else delay)
            yield Piece(f"word{number} ")
        yield Finished("stop", prompt_tokens=1, completion_tokens=words)


def tell(name: str, event: str, **values: Any) -> None:
    os.write(1, f"{name} {event} {time.monotonic()} {json.dumps(values)}\n".encode())


async def talk(name: str, spare_bytes: int) -> None:
    home = find_home()
    url = home.database_url(SETTINGS)
    manager = Manager(Store.open(url), UnsteadyEngine([]), settings=SETTINGS, home=home)
    if spare_bytes:
        # Every file may grow by so much and no more: the file system's own "no".
        size = Path(url.removeprefix("sqlite:///")).stat().st_size + spare_bytes
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    conversation = None
    tell(name, "begun", pid=os.getpid())
    try:
        while True:
            async for event in manager.reply(conversation, f"{name} says " + "something " * random.randint(1, 200)):
                match event:
                    case ReplyStarted(user=user, reply=reply):
                        assert user is not None
                        conversation = reply.conversation_id
                        tell(name, "started", user=user.id, said=user.content, reply=reply.id)
                    case TextAdded(text=text):
                        tell(name, "text", text=text)
                    case ReplyEnded(reply=reply):
                        tell(name, "ended", reply=reply.id, content=reply.content)
            if random.random() < 0.3:
                conversation = None
    except ChatbotError as error:
        tell(name, "failed", kind=type(error).__name__, message=str(error))


def main() -> None:
    spare_bytes = int(sys.argv[1])
    for line in sys.stdin:
        if os.fork() == 0:
            random.seed()
            asyncio.run(talk(line.strip(), spare_bytes))
            os._exit(0)


if __name__ == "__main__":
    import signal

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel buries the children
    main()
