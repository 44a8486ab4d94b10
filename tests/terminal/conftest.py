"""The chat with a scripted engine and a real store, driven by Textual's pilot; and the program itself in a terminal."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import pty
import select
import struct
import sys
import termios
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyte
import pytest
from textual.pilot import Pilot

from chatbot.config import Home, Settings, TerminalSettings
from chatbot.dialogue.manager import Manager
from chatbot.engine.scripted import ScriptedEngine
from chatbot.store.database import Store
from chatbot.store.migrations import open_upgraded
from chatbot.terminal.app import ChatApp
from chatbot.terminal.screens.chat import ChatScreen

Script = Sequence[Sequence[str | Exception]]


class Chat:
    """An application under test: its screen, its manager, the engine that replays a script."""

    def __init__(self, app: ChatApp, pilot: Pilot[None], engine: ScriptedEngine) -> None:
        self.app = app
        self.pilot = pilot
        self.engine = engine

    @property
    def screen(self) -> ChatScreen:
        screen = self.app.screen_stack[0]
        assert isinstance(screen, ChatScreen)
        return screen

    @property
    def manager(self) -> Manager:
        assert self.screen.manager is not None
        return self.screen.manager

    @property
    def contents(self) -> list[str]:
        """What the messages on screen say."""
        return [message.content for message in self.screen.transcript.messages]

    @property
    def shown(self) -> str:
        """The whole screen as text."""
        strips = self.app.screen._compositor.render_strips()
        return "\n".join("".join(segment.text for segment in strip) for strip in strips)

    async def until(self, condition: Callable[[], Any], what: str = "", seconds: float = 15.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"waited in vain for {what or 'the condition'}:\n{self.shown}"
            await asyncio.sleep(0.005)

    async def until_shown(self, text: str) -> None:
        await self.until(lambda: text in self.shown, repr(text))

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    async def say(self, text: str) -> None:
        """Writes `text` into the prompt and sends it; does not wait for the answer."""
        self.screen.prompt.load(text)
        await self.pilot.press("enter")

    async def ask(self, text: str) -> None:
        """Says `text` and waits until its reply has ended."""
        before = len(self.screen.transcript.messages)
        await self.say(text)
        await self.until(lambda: len(self.screen.transcript.messages) >= before + 2, "the reply")
        await self.until_idle()

    async def until_idle(self) -> None:
        def idle() -> bool:
            last = self.screen.transcript.last
            return not self.screen.turns and (last is None or last.status != "streaming")

        await self.until(idle, "the end of the reply")


@pytest.fixture
def settings() -> Settings:
    return Settings(model="scripted")


class Opener:
    """Opens chats on one home, one after another, as starts of the program do."""

    def __init__(self, home: Home, settings: Settings) -> None:
        self.home = home
        self.settings = settings

    @contextlib.asynccontextmanager
    async def __call__(
        self,
        replies: Script = (("Hello ", "there."),),
        *,
        delay: float = 0.0,
        size: tuple[int, int] = (120, 36),
        latest: bool = False,
        engine: ScriptedEngine | None = None,
        ready: bool = True,
        opener: Callable[[], Manager] | None = None,
        **terminal: Any,
    ) -> AsyncIterator[Chat]:
        scripted = engine or ScriptedEngine(replies, delay=delay)
        settings = self.settings.model_copy(update={"terminal": TerminalSettings(**terminal)})

        def open_manager() -> Manager:
            return Manager(self.store(), scripted, settings=settings, home=self.home)

        app = ChatApp(settings, self.home, latest=latest, open_manager=opener or open_manager)
        async with app.run_test(size=size, notifications=True) as pilot:
            chat = Chat(app, pilot, scripted)
            if ready:
                await chat.until(lambda: chat.screen.manager is not None and not chat.screen.workers_busy, "the start")
            yield chat
            await app.action_quit()

    def store(self) -> Store:
        return open_upgraded(self.home.database_url(self.settings))


@pytest.fixture
def open_chat(home: Home, settings: Settings) -> Opener:
    return Opener(home, settings)


class Terminal:
    """The program in a pseudo-terminal; what it writes is kept raw and drawn by pyte."""

    def __init__(self, environment: dict[str, str], *command: str, columns: int = 100, rows: int = 30) -> None:
        self.screen = pyte.Screen(columns, rows)
        self.stream = pyte.ByteStream(self.screen)
        self.raw = bytearray()
        self.feed = True
        self.pid, self.descriptor = pty.fork()
        if self.pid == 0:
            os.execve(sys.executable, [sys.executable, *command], environment)
        self.resize(columns, rows)

    def resize(self, columns: int, rows: int) -> None:
        self.screen.resize(rows, columns)
        fcntl.ioctl(self.descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def write(self, data: bytes | str) -> None:
        os.write(self.descriptor, data.encode() if isinstance(data, str) else data)

    def pump(self, seconds: float = 0.02) -> None:
        """Takes what the program has written so far."""
        while select.select([self.descriptor], [], [], seconds)[0]:
            try:
                block = os.read(self.descriptor, 65536)
            except OSError:
                return
            if not block:
                return
            self.raw += block
            if self.feed:
                self.stream.feed(block)

    @property
    def text(self) -> str:
        return "\n".join(self.screen.display)

    @property
    def has_ended(self) -> bool:
        """Whether the program has left."""
        with contextlib.suppress(ChildProcessError):
            return os.waitpid(self.pid, os.WNOHANG)[0] == self.pid
        return True

    def until(self, condition: Callable[[], Any], what: str, seconds: float = 30.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"waited in vain for {what}:\n{self.text}"
            self.pump()

    def until_shown(self, text: str) -> None:
        self.until(lambda: text in self.text, repr(text))

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, 9)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)
        os.close(self.descriptor)


@pytest.fixture
def start(home: Home, tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    """Starts `python COMMAND…` in a terminal, with this test's home."""
    terminals: list[Terminal] = []

    def run(*command: str, columns: int = 100, rows: int = 30, **variables: str) -> Terminal:
        environment = {name: value for name, value in os.environ.items() if name not in {"TMUX", "STY", "NO_COLOR"}}
        environment |= {"TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8", **variables}
        terminal = Terminal(environment, *command, columns=columns, rows=rows)
        terminals.append(terminal)
        return terminal

    yield run
    for terminal in terminals:
        terminal.close()
