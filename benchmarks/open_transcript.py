"""From choosing a conversation of 10,000 messages to its last lines on the screen, in the application itself.

    python benchmarks/open_transcript.py [--messages 10000] [--runs 9]

The application runs with Textual's headless driver; the time is from the call that the sidebar's Enter makes until a
frame that shows the last message has been drawn. Beside it the same conversation as one with 40 messages, which tells
what the length costs. It must stay below 0.5 s.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path

from open_conversation import fill

from chatbot.config import Home, Settings
from chatbot.dialogue.manager import Manager
from chatbot.engine.scripted import ScriptedEngine
from chatbot.store.migrations import open_upgraded
from chatbot.terminal.app import ChatApp
from chatbot.terminal.screens.chat import ChatScreen


async def measure(app: ChatApp, conversation_id: str) -> float:
    """Seconds until the conversation is drawn."""
    screen = app.screen
    assert isinstance(screen, ChatScreen)
    await screen.open_conversation(None)
    await draw(app)
    began = time.perf_counter()
    await screen.open_conversation(conversation_id)
    await draw(app)
    taken = time.perf_counter() - began
    last = screen.transcript.views[-1]
    assert last.region.overlaps(screen.transcript.region), "the last message is on the screen"
    return taken


async def draw(app: ChatApp) -> None:
    drawn = asyncio.Event()
    app.screen.call_after_refresh(drawn.set)
    await drawn.wait()


async def run(messages: int, runs: int) -> list[float]:
    """The times on a fresh database with one conversation of so many messages, and as many other conversations."""
    folder = Path(tempfile.mkdtemp(prefix="chatbot-bench-"))
    home = Home(config=folder, data=folder, state=folder, runtime=folder)
    settings = Settings(model="scripted")
    url = home.database_url(settings)
    conversation_id = fill(url, messages)

    def open_manager() -> Manager:
        return Manager(open_upgraded(url), ScriptedEngine([["."]]), settings=settings, home=home)

    app = ChatApp(settings, home, open_manager=open_manager)
    async with app.run_test(size=(120, 36)):
        screen = app.screen
        assert isinstance(screen, ChatScreen)
        while screen.manager is None or screen.workers_busy:
            await draw(app)
        times = [await measure(app, conversation_id) for _ in range(runs)]
        await app.action_quit()
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=9)
    arguments = parser.parse_args()
    for count in (40, arguments.messages):
        times = asyncio.run(run(count, arguments.runs))
        middle = statistics.median(times)
        print(f"{count:6} messages: median {middle:.3f} s (first {times[0]:.3f}, slowest {max(times):.3f})")


if __name__ == "__main__":
    main()
