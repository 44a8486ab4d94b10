"""Starting, joining and replacing the private engine, from the client's side.

The engine is a process of its own that outlives the chat that started it. Whoever needs it tries the socket first; if
nobody answers, it starts one and tries on. Two that start at once are told apart by the engine's lock: one serves, the
other ends itself. There is no time limit on loading a model, but a process that died is noticed at once.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from chatbot.config import EngineSettings, Home
from chatbot.engine.process import ALREADY_SERVED, Plan, check_private_folder, fingerprint
from chatbot.errors import EngineUnavailable
from chatbot.files import make_private_folder
from chatbot.text import printable_line

_FIRST_PAUSE = 0.02
_LONGEST_PAUSE = 0.25
_SILENT_SECONDS = 120.0  # a process that runs but does not even bind its socket is broken
_PATIENCE = 300.0  # for an engine with other settings that is busy
_LARGEST_LOG = 1 << 20


class PrivateEngine:
    """The private engine of one installation, as one client sees it."""

    def __init__(self, settings: EngineSettings, home: Home, *, patience: float = _PATIENCE) -> None:
        """`patience`: how many seconds to wait for an engine with other settings to finish."""
        self._patience = patience
        self.waits_for_other = False
        """True while `ensure` waits for an engine with other settings to leave."""
        self._settings = settings
        self._home = home
        self._process: subprocess.Popen[bytes] | None = None
        self._served = False
        self._log_start = 0
        self._starting = asyncio.Lock()
        self.socket = home.engine_socket
        self.log = home.logs / "engine.log"
        self.fingerprint = fingerprint(settings)

    @property
    def is_running(self) -> bool:
        """True while a process that this client started runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def state(self) -> str:
        """What goes on while no engine of ours answers, in a few words for a person."""
        if self.waits_for_other:
            return "waiting for an engine with other settings to finish"
        return "starting" if self.is_running else "not running"

    def explain_other(self, health: Any) -> str:
        """A remark on an engine that answers but is not the one that our next reply will come from; else empty."""
        if not isinstance(health, dict) or health.get("fingerprint") == self.fingerprint:
            return ""
        return "has other settings: the next reply replaces it"

    async def ensure(self, ask: Any, model: str) -> None:
        """Returns when an engine with these settings answers; starts one, with `model`, if none does.

        `ask(method, path)` is the client's request: the answer's JSON, or None if nobody is there.
        Raises EngineUnavailable if the engine cannot be started, or if one with other settings does not make way.
        """
        async with self._starting:
            try:
                await self._ensure(ask, model)
            finally:
                self.waits_for_other = False

    async def _ensure(self, ask: Any, model: str) -> None:
        check_private_folder(self.socket.parent)
        pause, began_at = _FIRST_PAUSE, time.monotonic()
        started_at = began_at
        while True:
            health = await ask("GET", "/health")
            if isinstance(health, dict) and health.get("fingerprint") == self.fingerprint:
                self._served = True
                return
            self.waits_for_other = health is not None
            if health is not None:
                # Another version, or another device: it finishes what it does for others, then leaves.
                await ask("POST", "/engine/leave")
                started_at = time.monotonic()
                if started_at - began_at > self._patience:
                    raise EngineUnavailable(
                        "An engine with other settings is busy and does not make way.",
                        hint="Give all chats the same [engine] settings, or end it with `chatbot serve --stop`.",
                    )
            else:
                self._check_or_start(model)
                if time.monotonic() - started_at > _SILENT_SECONDS:
                    raise EngineUnavailable("The engine was started but does not answer.", hint=f"See {self.log}.")
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE)

    def explain_end(self) -> str:
        """The last thing that the engine wrote before it ended, in one line; empty if nothing."""
        try:
            with self.log.open("rb") as file:
                file.seek(self._log_start)
                lines = file.read(1 << 20).decode("utf-8", "replace").splitlines()
        except OSError:
            return ""
        told = [line for line in lines if line.strip()]
        return printable_line(told[-1], 300) if told else ""

    def _check_or_start(self, model: str) -> None:
        if self._process is None:
            self._start(model)
            return
        code = self._process.poll()
        if code is None:
            return
        self._process = None
        if self._served or code in {0, ALREADY_SERVED}:
            return  # it did start once, or another client's engine was first: try again
        reason = self.explain_end() or _describe_exit(code)
        raise EngineUnavailable(f"The engine could not start: {reason}", hint=f"Its log is {self.log}.")

    def _start(self, model: str) -> None:
        log = self._open_log()
        self._served = False
        try:
            self._process = subprocess.Popen(  # noqa: S603  our own interpreter, our own module
                [sys.executable, "-P", "-m", "chatbot.engine.process", self._plan(model)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd="/",
                env=_environment(),
            )
        except OSError as error:
            raise EngineUnavailable(f"The engine could not be started: {error}.") from None
        finally:
            os.close(log)
        # Waits for the end, so that no zombie stays; the engine may well outlive this process.
        threading.Thread(target=self._process.wait, name="engine's end", daemon=True).start()

    def _plan(self, model: str) -> str:
        return Plan(self._home, self._settings, model).to_json()

    def _open_log(self) -> int:
        try:
            make_private_folder(self.log.parent)
            if self.log.exists() and self.log.stat().st_size > _LARGEST_LOG:
                self.log.replace(self.log.with_suffix(".log.1"))
            log = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise EngineUnavailable(f"{self.log} cannot be written: {error.strerror}.") from None
        self._log_start = os.fstat(log).st_size
        return log


def _environment() -> dict[str, str]:
    """The child's environment. `-P` and a working folder of `/` keep modules of the present folder out; a checkout
    that was not installed is named instead."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CHATBOT_")}
    checkout = Path(__file__).resolve().parents[2]
    if (checkout / "pyproject.toml").is_file():
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(checkout), environment.get("PYTHONPATH")]))
    return environment


def _describe_exit(code: int) -> str:
    if code == -9:
        return "it was killed, as the system does when memory runs out."
    return f"it was ended by signal {-code}." if code < 0 else f"it ended with exit code {code}."
