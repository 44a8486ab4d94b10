"""The client, beside our own server and beside servers of other habits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from chatbot.config import EngineSettings, Home, Settings
from chatbot.engine.answers import StreamReader
from chatbot.engine.client import EngineClient, connect_engine
from chatbot.engine.protocol import EngineModel, Finished, GenerationRequest, Piece, Sampling, TokenLogprob
from chatbot.engine.scripted import ScriptedEngine
from chatbot.errors import (
    ChatbotError,
    ConfigError,
    EngineError,
    EngineLost,
    EngineUnavailable,
    ModelDamaged,
    ModelNotFound,
    OutOfMemory,
    RequestRefused,
)
from chatbot.models.template import ChatMessage

Serve = Callable[..., Awaitable[str]]
AnswerPaths = Callable[[dict[str, str]], Awaitable[str]]
REQUEST = GenerationRequest("scripted", (ChatMessage("user", "Hi"),))
OK = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"


async def read(engine: EngineClient, request: GenerationRequest = REQUEST) -> tuple[str, Finished]:
    text = ""
    async for item in engine.stream(request):
        if isinstance(item, Finished):
            return text, item
        text += item.text
    raise AssertionError("no Finished")


@pytest.fixture
async def connect(home: Home) -> AsyncGenerator[Callable[..., EngineClient], None]:
    """Clients of a URL, closed after the test."""
    clients: list[EngineClient] = []

    def make(url: str, **settings: Any) -> EngineClient:
        clients.append(connect_engine(Settings(engine=EngineSettings(url=url, **settings)), home))
        return clients[-1]

    yield make
    for client in clients:
        await client.close()


@pytest.fixture
def answer(answer_paths: AnswerPaths) -> Callable[[str], Awaitable[str]]:
    """A server that sends the given bytes to whoever asks, then hangs up; gives its URL."""
    return lambda content: answer_paths({"": content})


@pytest.fixture
async def answer_paths() -> AsyncGenerator[AnswerPaths, None]:
    """The same, with an answer for each path; that of "" is for all others."""
    servers: list[asyncio.Server] = []

    async def start(contents: dict[str, str]) -> str:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            for line in head.decode().lower().split("\r\n"):
                if line.startswith("content-length:"):
                    await reader.readexactly(int(line.partition(":")[2]))
            path = head.decode().split(" ")[1]
            writer.write((contents[path] if path in contents else contents[""]).encode())
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(talk, "127.0.0.1", 0)
        servers.append(server)
        return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"

    yield start
    for server in servers:
        server.close()
        await server.wait_closed()


async def test_a_reply_of_our_own_server(serve: Serve, connect: Callable[..., EngineClient]) -> None:
    engine = ScriptedEngine([["Hel", "lo 世界", "\n"]], reason="length", context=99)
    client = connect(await serve(engine, token="s3cret"), token="s3cret")
    sampling = Sampling(0.5, 0.9, 40, 0.05, 1.1, 7, 20, ("END", "STOP"), 3)
    messages = (ChatMessage("system", "Be brief."), ChatMessage("user", "Hi"), ChatMessage("assistant", "We"))
    request = GenerationRequest("scripted", messages, sampling, continue_last=True)
    text, finished = await read(client, request)
    assert (text, finished.reason, finished.completion_tokens) == ("Hello 世界\n", "length", 3)
    assert engine.requests == [request]  # nothing was lost on the way
    assert await client.models() == [EngineModel("scripted", 99)]
    assert (await client.health()).status == "ready"
    await client.warm("scripted")


async def test_what_is_open_is_not_sent(serve: Serve, connect: Callable[..., EngineClient]) -> None:
    engine = ScriptedEngine([["x"]])
    await read(connect(await serve(engine)))
    assert engine.requests == [REQUEST]


@pytest.mark.parametrize(
    "error",
    [
        ModelNotFound("There is no model x.", hint="Pull it."),
        ModelDamaged("Broken."),
        OutOfMemory("Full."),
        RequestRefused("Too long.", code="context_length_exceeded"),
        EngineError("Odd."),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_errors_keep_their_class(error: ChatbotError, serve: Serve, connect: Callable[..., EngineClient]) -> None:
    client = connect(await serve(ScriptedEngine([[error], ["Hel", error]])))
    for _ in range(2):  # before the first byte, and in the middle of the stream
        with pytest.raises(type(error)) as raised:
            await read(client)
        assert (raised.value.message, raised.value.hint) == (error.message, error.hint)
        assert getattr(raised.value, "code", "") == getattr(error, "code", "")


async def test_a_wrong_token(serve: Serve, connect: Callable[..., EngineClient]) -> None:
    client = connect(await serve(ScriptedEngine([["x"]]), token="right"), token="wr0ng-t0ken")
    with pytest.raises(RequestRefused) as refusal:
        await read(client)
    assert refusal.value.code == "unauthorized"
    assert "wr0ng" not in str(refusal.value)
    assert (await client.health()).status == "failed"


async def test_closing_ends_the_reply_on_the_server(serve: Serve, connect: Callable[..., EngineClient]) -> None:
    engine = ScriptedEngine([["word "] * 10_000], delay=0.002)
    stream = connect(await serve(engine)).stream(REQUEST)
    await anext(stream)
    closing = time.monotonic()
    await stream.aclose()
    while not engine.closed_early:
        assert time.monotonic() < closing + 0.2
        await asyncio.sleep(0.005)


FOREIGN = """: a comment

event: message
data: {"choices":[],"usage":null}

data: {"choices":[{"delta":{"role":"assistant","content":null,"reasoning_content":"hm"},"index":0}]}

data:{"choices":[{"delta":{"content":"Hel"},"finish_reason":null}],"extra":[1]}

data: {"choices":[{"delta":{"content":"lo"},"finish_reason":"eos"}],"usage":{"prompt_tokens":5,"completion_tokens":2}}

data: [DONE]

data: {"choices":[{"delta":{"content":"never"}}]}

"""


async def test_the_habits_of_other_servers(
    answer: Callable[[str], Awaitable[str]], connect: Callable[..., EngineClient]
) -> None:
    text, finished = await read(connect(await answer(OK + FOREIGN)))
    assert (text, finished) == ("Hello", Finished("stop", 5, 2))
    without_end = FOREIGN.partition("data: [DONE]")[0].replace("eos", "max_tokens")
    text, finished = await read(connect(await answer(OK + without_end)))
    assert (text, finished.reason) == ("Hello", "length")
    usage_alone = 'data: {"choices":[{"delta":{"content":"a"}}]}\r\n\r\ndata: [DONE]\r\n\r\n'
    assert await read(connect(await answer(OK + usage_alone))) == ("a", Finished("stop", 0, 1))


LINE_BREAKS = "a\u2028b\u2029c\u0085d\x0be\x0cf\x1cg\x1dh\x1ei\rj\r\nk\n"
"""What str.splitlines takes for the end of a line."""


async def test_no_character_of_a_reply_ends_a_line(
    serve: Serve, answer: Callable[[str], Awaitable[str]], connect: Callable[..., EngineClient]
) -> None:
    text, _ = await read(connect(await serve(ScriptedEngine([[LINE_BREAKS, "\u2028"]]))))
    assert text == LINE_BREAKS + "\u2028"
    raw = "".join(character for character in LINE_BREAKS if character > " ")  # JSON takes no bare control characters
    assert "\u2028" in raw and "\u0085" in raw
    event = f'data: {{"choices":[{{"delta":{{"content":"{raw}"}},"finish_reason":"stop"}}]}}'
    for ending in ("\n\n", "\r\n\r\n", ""):  # the last: it hangs up without ending the line
        assert (await read(connect(await answer(OK + event + ending))))[0] == raw


@pytest.mark.parametrize("size", [1, 2, 7])
def test_an_event_may_come_in_any_blocks(size: int) -> None:
    event = (
        'data: {"choices":[{"delta":{"content":"世\u2028界"},"finish_reason":"stop"}]}\r\n\r\ndata: [DONE]\n'.encode()
    )
    reader = StreamReader()
    pieces = [piece for start in range(0, len(event), size) for piece in reader.feed(event[start : start + size])]
    assert (pieces, reader.done) == ([Piece("世\u2028界")], True)


def test_an_event_without_end_is_refused() -> None:
    reader = StreamReader()
    with pytest.raises(EngineError, match="MiB"):
        for _ in range(64):
            list(reader.feed(b"x" * (1 << 20)))


async def test_logprobs_are_read(answer: Callable[[str], Awaitable[str]], connect: Callable[..., EngineClient]) -> None:
    entry = '{"token":"a","logprob":-0.5,"top_logprobs":[{"token":"a","logprob":-0.5},{"token":5},7]}'
    event = '{"choices":[{"delta":{"content":"a"},"finish_reason":"stop","logprobs":{"content":[' + entry + ",3]}}]}"
    stream = connect(await answer(f"{OK}data: {event}\n\n")).stream(REQUEST)
    assert await anext(stream) == Piece("a", (TokenLogprob("a", -0.5, (("a", -0.5),)),))
    await stream.aclose()


REPLY = GenerationRequest(
    "scripted",
    (ChatMessage("user", "Why?"), ChatMessage("assistant", "Because it is so. ")),
    Sampling(top_logprobs=2),
    continue_last=True,
)


async def test_a_score_of_our_own_server(serve: Serve, connect: Callable[..., EngineClient]) -> None:
    engine = ScriptedEngine([])
    client = connect(await serve(engine, token="s3cret"), token="s3cret")
    scored = await client.score(REPLY)
    assert scored == await engine.score(REPLY)
    assert "".join(token.token for token in scored) == "Because it is so. "
    assert engine.scored == [REPLY, REPLY]  # nothing was lost on the way
    await client.score(replace(REPLY, sampling=Sampling()))
    assert engine.scored[-1].sampling == Sampling()


@pytest.mark.parametrize(
    ("status", "content", "expected", "told"),
    [
        ("404 No", "", RequestRefused, "does not tell how probable"),
        ("404 No", '{"error":{"message":"no such model or path"}}', RequestRefused, "does not tell how probable"),
        ("405 No", '{"detail":"Method Not Allowed"}', RequestRefused, "does not tell how probable"),
        ("404 No", '{"error":{"message":"no x","code":"model_not_found"}}', ModelNotFound, "no x"),
        ("503 No", "", EngineUnavailable, "HTTP 503"),
        ("200 OK", "rubbish", EngineError, "no log-probabilities"),
        ("200 OK", "[]", EngineError, "no log-probabilities"),
        ("200 OK", '{"logprobs":{"content":[{"token":"a","logprob":NaN}]}}', EngineError, "no log-probabilities"),
        ("200 OK", '{"logprobs":{"content":[{"token":"a","logprob":-1' + "0" * 400 + "}]}}", EngineError, "no log-p"),
    ],
    ids=range(9),
)
async def test_a_server_that_tells_no_probabilities(
    status: str,
    content: str,
    expected: type[ChatbotError],
    told: str,
    answer: Callable[[str], Awaitable[str]],
    connect: Callable[..., EngineClient],
) -> None:
    with pytest.raises(expected, match=told) as raised:
        await connect(await answer(refuse(status, content))).score(REPLY)
    if "does not tell" in told:
        assert "this machine" in raised.value.hint


async def test_nobody_there_to_score(connect: Callable[..., EngineClient]) -> None:
    with pytest.raises(EngineUnavailable, match=r"127\.0\.0\.1:9"):
        await connect("http://127.0.0.1:9/v1").score(REPLY)


def refuse(status: str, content: str) -> str:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(content)}\r\n\r\n{content}"


HOSTILE = "\\u001b]0;title\\u0007\\u202e bad\\nline"


@pytest.mark.parametrize(
    ("content", "expected", "told"),
    [
        ("", EngineUnavailable, "without an answer"),
        ("rubbish\r\n\r\n", EngineUnavailable, "without an answer"),
        (OK + "data: {broken\n\n", EngineError, "not JSON"),
        (OK + 'data: {"choices":[{"delta":{"content":"Hel"}}]}\n\n', EngineLost, "broke off"),
        (OK + f'data: {{"error":{{"message":"{HOSTILE}"}}}}\n\n', EngineError, "bad line"),
        (refuse("500 No", "boom"), EngineError, "HTTP 500"),
        (refuse("400 No", '{"detail":"too much"}'), RequestRefused, "too much"),
        (refuse("404 No", '{"error":{"message":"model x unknown"}}'), ModelNotFound, "model x"),
        (refuse("503 No", ""), EngineUnavailable, "HTTP 503"),
        (refuse("302 No\r\nLocation: http://elsewhere/", ""), RequestRefused, "HTTP 302"),
    ],
    ids=range(10),
)
async def test_what_servers_do_wrong_becomes_an_error_of_ours(
    content: str,
    expected: type[ChatbotError],
    told: str,
    answer: Callable[[str], Awaitable[str]],
    connect: Callable[..., EngineClient],
) -> None:
    content = content.replace("Content-Length: 20", "Content-Length: 21").replace(
        "Content-Length: 37", "Content-Length: 39"
    )
    with pytest.raises(expected) as raised:
        await read(connect(await answer(content)))
    message = str(raised.value)
    assert told in message
    assert message.isprintable()
    assert "\u202e" not in message


async def test_nobody_there(connect: Callable[..., EngineClient]) -> None:
    client = connect("http://127.0.0.1:9/v1", token="s3cret")
    with pytest.raises(EngineUnavailable, match=r"127\.0\.0\.1:9"):
        await read(client)
    with pytest.raises(EngineUnavailable):
        await client.models()
    assert (await client.health()).status == "failed"


@pytest.mark.parametrize(
    "health",
    [
        '"OK"',
        "true",
        "null",
        "[]",
        "5",
        "OK",
        '{"status":{}}',
        '{"status":["ready"]}',
        '{"status":"ok"}',
        "[" * 100_000,
        None,
    ],
    ids=range(11),
)
@pytest.mark.parametrize("found", [True, False])
async def test_health_never_raises(
    health: str | None, found: bool, answer_paths: AnswerPaths, connect: Callable[..., EngineClient]
) -> None:
    unknown = refuse("404 Not Found", '{"error":{"message":"no such model or path"}}')
    models = refuse("200 OK", '{"data":[{"id":"m\\u001b[31m"}]}') if found else unknown
    url = await answer_paths({"/v1/models": models, "/health": unknown if health is None else refuse("200 OK", health)})
    client = connect(url.replace("http://", "http://user:s3cret@"))
    told = await client.health()
    if found:
        assert (told.status, told.detail) == ("ready", url.removeprefix("http://").removesuffix("/v1"))
    else:
        assert (told.status, told.detail) == ("failed", "no such model or path")
    assert "\x1b" not in told.model
    assert "s3cret" not in repr(told)


@pytest.mark.parametrize("url", ["ftp://x/v1", "127.0.0.1:8000", "http://", "http://[", "http://x:99999/v1"])
def test_a_url_that_is_none(url: str, home: Home) -> None:
    with pytest.raises(ConfigError, match=r"engine\.url"):
        EngineClient(EngineSettings(url=url), home)


@pytest.mark.parametrize("token", ["two\nlines", "ключ", " space "])
def test_a_token_that_is_none(token: str, home: Home) -> None:
    with pytest.raises(ConfigError) as raised:
        EngineClient(EngineSettings(url="http://127.0.0.1/v1", token=token), home)
    assert token.strip() not in str(raised.value)


@pytest.mark.parametrize(
    ("entry", "asked", "window"),
    [
        ('{"id":"m","max_model_len":2048}', 0, 2048),
        ('{"id":"m","max_model_len":2048}', 512, 512),
        ('{"id":"m","meta":{"n_ctx":1024,"n_ctx_train":9999}}', 0, 1024),
        ('{"id":"m","context_length":333}', 0, 333),
        ('{"id":"m"}', 0, 4096),
        ('{"id":"m","max_model_len":"many"}', 777, 777),
    ],
)
async def test_the_window_of_a_foreign_model(
    entry: str, asked: int, window: int, answer: Callable[[str], Awaitable[str]], connect: Callable[..., EngineClient]
) -> None:
    content = '{"data":[' + entry + ",5,{}]}"
    url = await answer(refuse("200 OK", content))
    assert await connect(url, context=asked).models() == [EngineModel("m", window)]
