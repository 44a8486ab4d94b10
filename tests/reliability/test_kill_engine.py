"""kill -9 of the engine while the real model streams: the chat keeps every character and goes on with a new engine."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from pathlib import Path

import pytest

from chatbot.config import Home, Settings
from chatbot.dialogue.events import TextAdded
from chatbot.dialogue.manager import Manager, Sampling
from chatbot.dialogue.opening import open_manager
from chatbot.errors import EngineLost
from chatbot.store.database import Store


async def talk(manager: Manager, prompt: str, received: list[str], *, kill: Path | None, after: float = 0.0) -> None:
    """One turn; its pieces go to `received`. The process named in the file `kill` dies `after` seconds of it."""
    first = 0.0
    async for event in manager.reply(None, prompt, sampling=Sampling(max_tokens=600, temperature=1.0)):
        if isinstance(event, TextAdded):
            received.append(event.text)
            first = first or time.monotonic()
            if kill and time.monotonic() - first >= after:
                os.kill(int(kill.read_text()), signal.SIGKILL)
                kill = None


@pytest.mark.model
@pytest.mark.slow
async def test_kill_the_engine_while_it_streams(model_home: Home, kills: int) -> None:
    settings = Settings(persona="storyteller")
    manager = await asyncio.to_thread(open_manager, settings, model_home)
    process = model_home.engine_socket.with_suffix(".lock")  # holds the number of the engine's process
    random_source = random.Random(21)
    lost = 0
    try:
        for number in range(kills):
            received: list[str] = []
            prompt = f"Tell me a very long story with many chapters, number {number}."
            try:
                await talk(manager, prompt, received, kill=process, after=random_source.uniform(0.0, 2.0))
            except EngineLost:
                lost += 1
            conversation = manager.latest_conversation()
            assert conversation is not None
            user, reply = manager.transcript(conversation.id)
            assert user.content == prompt
            assert reply.content == "".join(received)
            assert reply.status in {"failed", "complete"}
        assert lost >= kills // 2, "hardly any kill met a streaming reply"
        received = []
        await talk(manager, "Say hello.", received, kill=None)
        assert "".join(received)
    finally:
        os.kill(int(process.read_text()), signal.SIGTERM)
        await manager.close()
    with Store.open(model_home.database_url(settings)) as store:
        assert store.verify() == []
    print(f"{kills} kills of the engine, {lost} in the middle of a reply; every received character kept")  # noqa: T201
