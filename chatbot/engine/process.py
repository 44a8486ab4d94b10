"""The engine's own process: the lock, the listener, the torch engine, and leaving.

Run as `python -m chatbot.engine.process` by the first client that needs an engine, and by `chatbot serve`. The
listener is bound before PyTorch is read, so that /health answers from the first moment. One lock file, held for the
whole life of the process, decides who serves the private socket; whoever holds it may remove a socket that a crash
left behind.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import logging
import os
import signal
import socket
import stat
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chatbot import __version__
from chatbot.config import EngineSettings, Home
from chatbot.errors import ChatbotError, ConfigError, EngineUnavailable
from chatbot.files import make_private_folder

if TYPE_CHECKING:
    from chatbot.engine.activity import Activity

ALREADY_SERVED = 75  # the exit code when another engine serves the socket (EX_TEMPFAIL)
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_LOCK_SECONDS = 60.0
_LARGEST_LOG = 4 << 20
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a server process is to do; it crosses the process boundary as JSON, without the token."""

    home: Home
    settings: EngineSettings
    model: str = ""
    """Loaded at once, so that the first reply need not wait."""

    def to_json(self) -> str:
        folders = {name: str(getattr(self.home, name)) for name in ("config", "data", "state", "runtime")}
        settings = self.settings.model_dump(mode="json", exclude={"token", "url"})
        return json.dumps({"home": folders, "settings": settings, "model": self.model})

    @classmethod
    def from_json(cls, text: str) -> Plan:
        content = json.loads(text)
        home = Home(**{name: Path(folder) for name, folder in content["home"].items()})
        return cls(home, EngineSettings(**content["settings"]), content["model"])


def fingerprint(settings: EngineSettings) -> str:
    """The same for two engines that compute alike: a client with other settings needs another engine."""
    parts = (__version__, settings.device, settings.dtype, settings.threads, settings.context)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def check_private_folder(folder: Path) -> None:
    """Makes the socket's folder, or raises EngineUnavailable if someone else could reach into it."""
    try:
        make_private_folder(folder)
        found = folder.lstat()
    except OSError as error:
        raise EngineUnavailable(f"{folder} cannot be made: {error.strerror}.") from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise EngineUnavailable(f"{folder} belongs to somebody else.", hint="Remove it, or set CHATBOT_HOME.")
    if found.st_mode & 0o077:
        try:
            folder.chmod(0o700)
        except OSError as error:
            raise EngineUnavailable(f"{folder} is open to others: {error.strerror}.") from None


def serve_private(plan: Plan, *, own_log: bool = False, announce: Callable[[str], None] = lambda _: None) -> int:
    """Serves the private socket until idle for long enough, asked to leave or told by a signal.

    `own_log`: standard error is the log that a client opened for us, to be kept short; else it is somebody's own file.
    `announce` hears the socket's path once it is ours. Returns ALREADY_SERVED if another engine has it.
    """
    path = plan.home.engine_socket
    check_private_folder(path.parent)
    lock = _take_lock(path)
    if lock is None:
        return ALREADY_SERVED
    try:
        listener = _bind_unix(path)
        announce(str(path))
        return _run(plan, listener, on_leave=lambda: path.unlink(missing_ok=True), own_log=own_log)
    finally:
        path.unlink(missing_ok=True)
        os.close(lock)


def serve_network(plan: Plan, host: str, port: int, announce: Callable[[str], None]) -> int:
    """Serves `host`:`port` until a signal. `announce` hears the address.

    Raises ConfigError without a token off the loopback, EngineUnavailable if the address cannot be used.
    """
    token = plan.settings.token.get_secret_value()
    if host not in LOOPBACK and not token:
        raise ConfigError(
            f"A token is required to serve on {host}, because others can reach it.",
            hint="Set CHATBOT_ENGINE_TOKEN, or serve on 127.0.0.1.",
        )
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(128)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise EngineUnavailable(
            f"{host}:{port} cannot be served: {error.strerror or error}.", hint="Choose another --port."
        ) from None
    shown = f"[{host}]" if ":" in host else host
    announce(f"http://{shown}:{listener.getsockname()[1]}/v1")
    return _run(plan, listener, token=token, hosts=LOOPBACK if host in LOOPBACK else None, stays=True)


def _take_lock(path: Path) -> int | None:
    """The descriptor of the held lock; None if an engine that can be reached holds it.

    An engine that is just leaving holds the lock but no socket any more: then it is waited for.
    """
    lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    end = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if can_connect(path):
                os.close(lock)
                return None
            if time.monotonic() > end:
                os.close(lock)
                raise EngineUnavailable("An engine that does not answer holds the lock.", hint=f"See {path}.") from None
            time.sleep(0.05)
        else:
            os.ftruncate(lock, 0)
            os.write(lock, f"{os.getpid()}\n".encode())
            return lock


def can_connect(path: Path) -> bool:
    """True if a process accepts connections on the socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True


def _bind_unix(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)  # we hold the lock: whatever is here is nobody's
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listener.bind(str(path))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise EngineUnavailable(f"{path} cannot be made: {error.strerror}.") from None
    finally:
        os.umask(before)
    return listener


def _run(
    plan: Plan,
    listener: socket.socket,
    *,
    token: str = "",
    hosts: frozenset[str] | None = None,
    stays: bool = False,
    on_leave: Callable[[], None] = lambda: None,
    own_log: bool = False,
) -> int:
    import uvicorn

    from chatbot.engine.activity import Activity
    from chatbot.engine.server import build_application
    from chatbot.engine.torch_engine import TorchEngine
    from chatbot.models.library import ModelLibrary

    # Offline is a promise: the libraries below are told so before they are read.
    os.environ.update(HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1", TOKENIZERS_PARALLELISM="false")
    # Threads that spin while they wait for each other stand still when anything else wants a core: with two busy
    # neighbours a token took four times as long. Sleeping costs nothing that can be measured on an idle machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    activity = Activity()

    async def main() -> None:
        engine = TorchEngine(ModelLibrary(plan.home.models), plan.settings)
        application = build_application(
            engine,
            token=token,
            hosts=hosts,
            fingerprint=fingerprint(plan.settings),
            activity=activity,
            private=not stays,
        )
        server = uvicorn.Server(
            uvicorn.Config(
                application,
                http="h11",
                ws="none",
                lifespan="off",
                loop="asyncio",
                log_level="warning",
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=1,
            )
        )
        tasks = [asyncio.create_task(_prepare(engine, plan.model))]
        tasks.append(asyncio.create_task(_watch(plan, activity, server, on_leave, stays=stays, own_log=own_log)))
        try:
            await server.serve([listener])
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await engine.close()

    # uvicorn ends in good order and then raises the signal once more: let it not kill us before we have cleaned up.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt):
        asyncio.run(main())
    return 0


async def _prepare(engine: Any, model: str) -> None:
    """What fails here is told again to the first request; nobody waits for this task, so it is logged."""
    try:
        await engine.prepare()
        if model:
            await engine.warm(model)
    except Exception:  # noqa: BLE001  whatever it is, it belongs in the log
        _log.exception("the engine could not be prepared")


async def _watch(
    plan: Plan, activity: Activity, server: Any, on_leave: Callable[[], None], *, stays: bool, own_log: bool
) -> None:
    """Ends the server when it has been idle for long enough or was asked to leave, never in the middle of a reply."""
    from chatbot.engine.activity import wait_to_leave

    idle_seconds = None if stays else plan.settings.idle_minutes * 60
    await wait_to_leave(activity, idle_seconds, on_leave=on_leave, tidy=_trim_log if own_log else None)
    server.should_exit = True


def _trim_log() -> None:
    """Empties our own log when it is too large. It was opened for appending, so writing goes on at its start."""
    with suppress(OSError):
        found = os.fstat(2)
        if stat.S_ISREG(found.st_mode) and found.st_size > _LARGEST_LOG:
            os.ftruncate(2, 0)


def main() -> int:
    """The entry of the child that a client started: the plan comes as the only argument."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.WARNING)
    os.umask(0o077)
    try:
        return serve_private(Plan.from_json(sys.argv[1]), own_log=True)
    except ChatbotError as error:
        print(error, file=sys.stderr)  # noqa: T201  standard error is the log that the client reads
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
