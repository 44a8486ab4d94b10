"""The private engine as a process: started once, shared, replaced, killed, and gone when idle. Tiny real models."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import stat
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psutil  # type: ignore[import-untyped]
import pytest

from chatbot.config import EngineSettings, Home
from chatbot.engine.client import EngineClient
from chatbot.engine.private import PrivateEngine
from chatbot.engine.process import can_connect
from chatbot.engine.protocol import Finished, GenerationRequest, Health, Piece, Sampling
from chatbot.errors import EngineLost, EngineUnavailable, ModelNotFound
from chatbot.models.template import ChatMessage

Open = Callable[..., EngineClient]


def ask(text: str = "Hi", model: str = "llama", **sampling: Any) -> GenerationRequest:
    sampling = {"temperature": 0.0, "max_tokens": 8, **sampling}
    return GenerationRequest(model, (ChatMessage("user", text),), Sampling(**sampling))


async def read(engine: EngineClient, request: GenerationRequest) -> tuple[str, Finished]:
    text = ""
    async for item in engine.stream(request):
        if isinstance(item, Finished):
            return text, item
        text += item.text
    raise AssertionError("no Finished")


async def find_pid(home: Home) -> int:
    async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(home.engine_socket))) as client:
        return int((await client.get("http://engine/health")).json()["pid"])


async def wait_for(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        await asyncio.sleep(0.02)


def count_engines(home: Home) -> int:
    """Processes that serve, or try to serve, this home."""
    found = 0
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or [])
        found += "chatbot.engine.process" in line and str(home.data) in line
    return found


@pytest.fixture
async def open_client(home: Home, tiny_models: Path) -> AsyncGenerator[Open, None]:
    """Clients of the private engine of this test's home; whatever they started is gone afterwards."""
    home.data.mkdir(parents=True)
    home.models.symlink_to(tiny_models)
    clients: list[EngineClient] = []

    def make(**settings: Any) -> EngineClient:
        clients.append(EngineClient(EngineSettings(**{"device": "cpu", "threads": 1, **settings}), home))
        return clients[-1]

    yield make
    for client in clients:
        await client.leave()
    for client in clients:
        await client.close()
    await wait_for(lambda: count_engines(home) == 0)


async def test_two_chats_at_once_start_one_engine(open_client: Open, home: Home) -> None:
    clients = [open_client() for _ in range(3)]
    assert (await clients[0].health()).status == "starting"
    assert count_engines(home) == 0  # asking for its health starts nothing
    replies = await asyncio.gather(*(read(client, ask()) for client in clients))
    assert len({text for text, _ in replies}) == 1
    await wait_for(lambda: count_engines(home) == 1)
    health = await clients[1].health()
    assert (health.status, health.model) == ("ready", "llama")
    assert stat.S_IMODE(home.engine_socket.stat().st_mode) == 0o600
    assert stat.S_IMODE(home.engine_socket.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE((home.logs / "engine.log").stat().st_mode) == 0o600
    assert {model.name for model in await clients[2].models()} == {"llama", "gpt2", "qwen2", "mistral"}
    with pytest.raises(ModelNotFound):
        await read(clients[0], ask(model="unknown"))


async def test_health_answers_while_the_libraries_load(open_client: Open) -> None:
    client = open_client()
    warming = asyncio.create_task(client.warm("llama"))
    seen: list[str] = []
    while not seen or seen[-1] != "ready":
        seen.append((await client.health()).status)
        await asyncio.sleep(0.01)
    await warming
    assert set(seen) <= {"starting", "loading", "ready"}
    assert len(seen) > 10


async def test_killed_in_the_middle_of_a_reply(open_client: Open, home: Home) -> None:
    client = open_client()
    stream = client.stream(ask(max_tokens=400, temperature=1.5, seed=1))
    got = [await anext(stream) for _ in range(3)]
    assert all(isinstance(item, Piece) for item in got)
    pid = await find_pid(home)
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(EngineLost):
        while True:
            await anext(stream)
    assert home.engine_socket.exists()  # nobody could clean up
    text, _ = await read(client, ask())  # the next one starts a new engine by itself
    assert text
    assert await find_pid(home) != pid


async def test_it_leaves_when_idle_and_not_before(open_client: Open, home: Home) -> None:
    client = open_client(idle_minutes=0.005)  # 0.3 s
    _, finished = await read(client, ask(max_tokens=None, temperature=1.0, seed=3))
    assert finished.completion_tokens > 20
    await wait_for(lambda: count_engines(home) == 0)
    assert not home.engine_socket.exists()
    await read(client, ask())


async def test_an_engine_with_other_settings_finishes_and_is_replaced(open_client: Open, home: Home) -> None:
    first, second = open_client(), open_client(context=100)
    stream = first.stream(ask(max_tokens=300, temperature=1.5, seed=1))
    await anext(stream)
    old = await find_pid(home)
    assert "has other settings" in (await second.health()).detail  # said before anything is replaced
    assert "other settings" not in (await first.health()).detail
    other = asyncio.create_task(read(second, ask(max_tokens=None)))
    while await second.health() != Health("starting", "waiting for an engine with other settings to finish"):
        assert not other.done()
        await asyncio.sleep(0)
    pieces = [item async for item in stream]
    assert isinstance(pieces[-1], Finished)  # the reply that ran was not cut
    _, finished = await other
    assert finished.prompt_tokens + finished.completion_tokens <= 100
    assert await find_pid(home) != old
    await wait_for(lambda: count_engines(home) == 1)


async def test_an_engine_with_other_settings_is_not_waited_for_for_ever(home: Home) -> None:
    asked: list[str] = []

    async def ask_busy(method: str, path: str) -> dict[str, Any]:
        asked.append(path)
        return {"fingerprint": "another", "running": 1}

    private = PrivateEngine(EngineSettings(), home, patience=0.2)
    with pytest.raises(EngineUnavailable, match="other settings") as raised:
        await asyncio.wait_for(private.ensure(ask_busy, "llama"), 10)
    assert "--stop" in raised.value.hint
    assert "/engine/leave" in asked
    assert (private.state, private.is_running) == ("not running", False)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signals_end_it_cleanly(number: signal.Signals, open_client: Open, home: Home) -> None:
    client = open_client()
    stream = client.stream(ask(max_tokens=400, temperature=1.5, seed=1))
    await anext(stream)
    os.kill(await find_pid(home), number)
    with suppress(EngineLost):  # a reply that is done within a second may end well
        async for _ in stream:
            pass
    await wait_for(lambda: count_engines(home) == 0, 5.0)
    assert not home.engine_socket.exists()
    assert "Traceback" not in (home.logs / "engine.log").read_text()


async def test_a_reply_is_scored_whether_or_not_an_engine_runs(open_client: Open, home: Home) -> None:
    reply = (ChatMessage("user", "Hi"), ChatMessage("assistant", "Hello there."))
    request = GenerationRequest("llama", reply, Sampling(top_logprobs=1), continue_last=True)
    client = open_client()
    scored = await client.score(request)
    assert "".join(token.token for token in scored) == "Hello there."
    os.kill(await find_pid(home), signal.SIGKILL)
    assert await client.score(request) == scored


async def test_a_stale_socket_is_no_hindrance(open_client: Open, home: Home) -> None:
    home.engine_socket.parent.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(home.engine_socket))
    text, _ = await read(open_client(), ask())
    assert text


async def test_an_engine_that_cannot_start_says_why(
    open_client: Open, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = open_client()
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(EngineUnavailable) as raised:
        await read(client, ask())
    assert str(home.logs / "engine.log") in raised.value.hint
    home.logs.joinpath("engine.log").chmod(0o400)
    home.logs.joinpath("engine.log").unlink()
    home.logs.joinpath("engine.log").mkdir()
    with pytest.raises(EngineUnavailable, match=r"engine\.log"):
        await read(client, ask())


async def test_the_last_line_of_the_log_is_told(open_client: Open, home: Home, tmp_path: Path) -> None:
    home.engine_socket.parent.mkdir(mode=0o700)
    home.engine_socket.with_suffix(".lock").mkdir()  # the engine cannot take its lock
    with pytest.raises(EngineUnavailable, match=r"engine\.lock"):
        await read(open_client(), ask())


async def test_a_folder_that_others_can_reach_is_closed_to_them(open_client: Open, home: Home) -> None:
    home.engine_socket.parent.mkdir(mode=0o755)
    await open_client().warm("llama")
    assert stat.S_IMODE(home.engine_socket.parent.stat().st_mode) == 0o700


async def test_a_path_too_long_for_a_socket(tmp_path: Path, tiny_models: Path) -> None:
    root = tmp_path / ("long" * 30)
    home = Home(config=root, data=root, state=root, runtime=root / "run")
    root.mkdir()
    home.models.symlink_to(tiny_models)
    client = EngineClient(EngineSettings(device="cpu", threads=1), home)
    try:
        text, _ = await read(client, ask())
        assert text
    finally:
        await client.leave()
        await client.close()
        await wait_for(lambda: not can_connect(home.engine_socket))
    await wait_for(lambda: count_engines(home) == 0)


@pytest.fixture
async def run_serve(open_client: Open) -> AsyncGenerator[Callable[..., Awaitable[asyncio.subprocess.Process]], None]:
    processes: list[asyncio.subprocess.Process] = []

    async def run(
        *arguments: str, stderr: Any = asyncio.subprocess.PIPE, **environment: str
    ) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "chatbot",
            "serve",
            *arguments,
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
            env={**os.environ, **environment},
        )
        processes.append(process)
        return process

    yield run
    for process in processes:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


Run = Callable[..., Awaitable[asyncio.subprocess.Process]]


async def test_serve_on_a_port(run_serve: Run, web: httpx.AsyncClient) -> None:
    process = await run_serve("--port", "0", "--model", "llama", CHATBOT_ENGINE_DEVICE="cpu")
    assert process.stdout is not None
    url = (await process.stdout.readline()).decode().split()[-1]
    assert (await web.get(url + "/models")).status_code == 200
    assert (await web.get(url + "/models", headers={"Host": "evil.example"})).status_code == 403
    port = url.rpartition(":")[2].removesuffix("/v1")
    other = await run_serve("--port", port)
    _, errors = await other.communicate()
    assert other.returncode == 7
    assert port in errors.decode()
    assert b"Traceback" not in errors
    process.terminate()
    _, errors = await process.communicate()
    assert b"Traceback" not in errors


async def test_serve_leaves_the_users_own_log_alone(run_serve: Run, web: httpx.AsyncClient, tmp_path: Path) -> None:
    log = tmp_path / "my.log"
    log.write_bytes(b"mine\n" * (1 << 20))
    with log.open("ab") as errors:
        process = await run_serve("--port", "0", CHATBOT_ENGINE_DEVICE="cpu", stderr=errors)
    assert process.stdout is not None
    url = (await process.stdout.readline()).decode().split()[-1]
    assert (await web.get(url + "/models")).status_code == 200  # it runs, so it has looked at its log
    process.terminate()
    await process.wait()
    assert log.stat().st_size >= 5 << 20


async def test_serve_to_others_needs_a_token(run_serve: Run) -> None:
    process = await run_serve("--host", "0.0.0.0", "--port", "0")
    _, errors = await process.communicate()
    assert process.returncode == 3
    assert b"CHATBOT_ENGINE_TOKEN" in errors


async def test_status_and_stop(run_serve: Run, open_client: Open, home: Home) -> None:
    async def tell(*arguments: str) -> str:
        process = await run_serve(*arguments)
        out, _ = await process.communicate()
        assert process.returncode == 0
        return out.decode()

    assert "No private engine" in await tell("--status")
    await open_client().warm("llama")
    assert '"running": true' in await tell("--status", "--json")
    again = await run_serve()
    out, errors = await again.communicate()
    assert again.returncode != 0
    assert b"Serving" not in out
    assert b"runs already" in errors
    assert "left" in await tell("--stop")
    await wait_for(lambda: count_engines(home) == 0)
    assert "No private engine" in await tell("--stop")
    await open_client().warm("llama")
    assert json.loads(await tell("--stop", "--json"))["running"] is False
    assert json.loads(await tell("--stop", "--json"))["running"] is False
