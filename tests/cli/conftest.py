"""A server with scripted replies, so that the commands run as they are: settings, client, manager, database."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator, Sequence

import pytest

from chatbot.engine.scripted import ScriptedEngine


@pytest.fixture
def serve_script(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., ScriptedEngine]]:
    """Serves an engine that replays the given replies, and points the settings to it."""
    import uvicorn

    from chatbot.engine.server import build_application

    running: list[tuple[uvicorn.Server, threading.Thread]] = []

    def serve(replies: Sequence[Sequence[str | Exception]], *, delay: float = 0.0) -> ScriptedEngine:
        engine = ScriptedEngine(replies, delay=delay)
        listener = socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(build_application(engine), log_level="warning", ws="none"))
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])))
        thread.start()
        running.append((server, thread))
        monkeypatch.setenv("CHATBOT_ENGINE_URL", f"http://127.0.0.1:{listener.getsockname()[1]}/v1")
        monkeypatch.setenv("CHATBOT_MODEL", "scripted")
        return engine

    yield serve
    for server, thread in running:
        server.should_exit = True
        thread.join()
