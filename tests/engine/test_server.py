"""The server's side of the OpenAI chat protocol, over a scripted engine on a real socket."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import httpx
import pytest

from chatbot.engine.activity import Activity
from chatbot.engine.process import LOOPBACK
from chatbot.engine.protocol import Finished, GenerationRequest, Piece, TokenLogprob
from chatbot.engine.scripted import ScriptedEngine
from chatbot.engine.server import MOST_BYTES
from chatbot.errors import EngineError, ModelNotFound, OutOfMemory, RequestRefused
from chatbot.models.template import ChatMessage

Serve = Callable[..., Awaitable[str]]
PATH = "/v1/chat/completions"


def body(**fields: Any) -> dict[str, Any]:
    return {"model": "scripted", "messages": [{"role": "user", "content": "Hi"}], **fields}


def read_events(text: str) -> list[Any]:
    events = [line.removeprefix("data: ") for line in text.splitlines() if line]
    assert events.pop() == "[DONE]"
    return [json.loads(event) for event in events]


async def test_a_whole_answer(serve: Serve, web: httpx.AsyncClient) -> None:
    url = await serve(ScriptedEngine([["Hel", "lo", " 世界"]], reason="length"))
    answer = (await web.post(url + PATH, json=body())).json()
    assert answer["object"] == "chat.completion"
    assert answer["choices"][0]["message"] == {"role": "assistant", "content": "Hello 世界", "refusal": None}
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == 3
    assert answer["usage"]["prompt_tokens_details"] == {"cached_tokens": 0}


async def test_a_streamed_answer(serve: Serve, web: httpx.AsyncClient) -> None:
    url = await serve(ScriptedEngine([["Hel", "lo\n\n世界"]]))
    response = await web.post(url + PATH, json=body(stream=True, stream_options={"include_usage": True}))
    assert response.headers["content-type"].startswith("text/event-stream")
    assert "access-control-allow-origin" not in response.headers
    events = read_events(response.text)
    assert "".join(event["choices"][0]["delta"].get("content", "") for event in events[:-1]) == "Hello\n\n世界"
    assert events[0]["choices"][0]["delta"]["role"] == "assistant"
    assert [event["choices"][0]["finish_reason"] for event in events[:-1]] == [None, None, None, "stop"]
    assert events[-1]["choices"] == []
    assert events[-1]["usage"]["completion_tokens"] == 2
    assert len({event["id"] for event in events}) == 1
    without = read_events((await web.post(url + PATH, json=body(stream=True))).text)
    assert not any("usage" in event for event in without)


async def test_every_parameter_reaches_the_engine(serve: Serve, web: httpx.AsyncClient) -> None:
    engine = ScriptedEngine([["ok"]])
    url = await serve(engine)
    parts = [{"type": "text", "text": "Hi "}, {"type": "text", "text": "there"}]
    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": parts},
        {"role": "assistant", "content": "Well"},
    ]
    fields: dict[str, Any] = {
        "temperature": 1,
        "top_p": 0.5,
        "top_k": -1,
        "min_p": 0.1,
        "repetition_penalty": 1.1,
        "seed": 5,
    }
    fields |= {"max_tokens": 9, "max_completion_tokens": 7, "stop": "END", "logprobs": True, "top_logprobs": 2}
    fields |= {"continue_final_message": True, "add_generation_prompt": False, "user": "ignored", "n": 1, "tools": []}
    assert (await web.post(url + PATH, json=body(messages=messages, **fields))).status_code == 200
    request = engine.requests[0]
    assert request.messages == (
        ChatMessage("system", "Be brief."),
        ChatMessage("user", "Hi there"),
        ChatMessage("assistant", "Well"),
    )
    assert request.continue_last
    sampling = request.sampling
    assert (sampling.temperature, sampling.top_p, sampling.top_k, sampling.min_p) == (1.0, 0.5, 0, 0.1)
    assert (sampling.repetition_penalty, sampling.seed, sampling.max_tokens) == (1.1, 5, 7)
    assert (sampling.stop, sampling.top_logprobs) == (("END",), 2)


IMAGE = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x"}}]}


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"n": 2}, "n other than 1"),
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"messages": [IMAGE]}, "image_url"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0"),
        ({"messages": []}, "messages"),
        ({"messages": "Hi"}, "messages"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages.0.content"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": -1}, "temperature"),
        ({"top_p": 1.5}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"seed": 1 << 70}, "seed"),
        ({"stop": ["a", ""]}, "stop"),
        ({"stop": 5}, "stop"),
        ({"top_logprobs": 3}, "logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"model": ""}, "model"),
        ({"model": None}, "model"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"presence_penalty": 0.5}, "presence_penalty"),
        ({"continue_final_message": True}, "continue_final_message"),
    ],
)
async def test_what_cannot_be_obeyed_is_refused(
    fields: dict[str, Any], told: str, serve: Serve, web: httpx.AsyncClient
) -> None:
    engine = ScriptedEngine([["never"]])
    response = await web.post((await serve(engine)) + PATH, json=body(**fields))
    assert response.status_code == 400
    error = response.json()["error"]
    assert told in error["message"]
    assert error["type"] == "invalid_request_error"
    assert engine.requests == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"model": "\xff"}',
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b'{"model":"m","messages":[{"role":"user","content":"\\ud800"}]}',
        b'{"model":"m","messages":[{"role":"user","content":"x"}],"temperature":NaN}',
        b'{"model":"m","messages":[{"role":"user","content":"x"}],"temperature":1e999}',
    ],
    ids=range(11),
)
async def test_a_body_that_is_not_a_request(content: bytes, serve: Serve, web: httpx.AsyncClient) -> None:
    url = await serve(ScriptedEngine([["never"]]))
    headers = {"content-type": "application/json"}
    for path in (PATH, "/engine/warm")[: 1 if b'"model":"m"' in content else 2]:
        response = await web.post(url + path, content=content, headers=headers)
        assert response.status_code == 400
        assert response.json()["error"]["message"]


async def test_a_body_that_is_too_large(serve: Serve, web: httpx.AsyncClient) -> None:
    url = await serve(ScriptedEngine([["never"]]))
    large = body(messages=[{"role": "user", "content": "x" * MOST_BYTES}])
    assert (await web.post(url + PATH, json=large)).status_code == 413


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (ModelNotFound("no model x"), 404, "model_not_found"),
        (OutOfMemory("full"), 503, "out_of_memory"),
        (RequestRefused("too long", code="context_length_exceeded"), 400, "context_length_exceeded"),
        (RequestRefused("busy", code="overloaded"), 429, "overloaded"),
        (EngineError("odd", hint="Do this."), 500, "engine_error"),
    ],
)
async def test_errors_of_the_engine(
    error: Exception, status: int, code: str, serve: Serve, web: httpx.AsyncClient
) -> None:
    url = await serve(ScriptedEngine([[error], ["Hel", error]]))
    response = await web.post(url + PATH, json=body(stream=True))
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)
    late = await web.post(url + PATH, json=body(stream=True))
    assert late.status_code == 200
    last = json.loads(late.text.strip().splitlines()[-1].removeprefix("data: "))
    assert last["error"]["code"] == code
    assert "[DONE]" not in late.text


class Endless:
    """Streams until it is closed, and tells when that was; `silent` never says a word, like a prompt being read."""

    def __init__(self, *, silent: bool = False) -> None:
        self.silent = silent
        self.started = asyncio.Event()
        self.closed_at = 0.0

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[Piece | Finished, None]:
        try:
            self.started.set()
            while True:
                await asyncio.sleep(0.005)
                if not self.silent:
                    yield Piece("word ")
        finally:
            self.closed_at = time.monotonic()

    async def score(self, request: GenerationRequest) -> tuple[TokenLogprob, ...]:
        async for _ in self.stream(request):
            pass
        return ()

    async def models(self) -> list[Any]:
        return []

    async def health(self) -> Any:
        raise NotImplementedError

    async def warm(self, model: str) -> None:
        pass

    async def close(self) -> None:
        pass


ASKED_TO_SCORE = body(continue_final_message=True, messages=[{"role": "assistant", "content": "Hi"}])


@pytest.mark.parametrize(
    ("path", "asked"), [(PATH, body(stream=True)), (PATH, body(stream=False)), ("/engine/score", ASKED_TO_SCORE)]
)
@pytest.mark.parametrize("silent", [True, False])
async def test_leaving_closes_the_engines_stream_at_once(
    path: str, asked: dict[str, Any], silent: bool, serve: Serve, web: httpx.AsyncClient
) -> None:
    engine = Endless(silent=silent)
    url = await serve(engine)
    asking = asyncio.create_task(web.post(url + path, json=asked))
    await engine.started.wait()
    await asyncio.sleep(0.05)
    left = time.monotonic()
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    while not engine.closed_at:
        assert time.monotonic() < left + 5
        await asyncio.sleep(0.005)
    assert engine.closed_at - left < 0.2


async def test_logprobs(serve: Serve, web: httpx.AsyncClient) -> None:
    class WithLogprobs(ScriptedEngine):
        async def stream(self, request: GenerationRequest) -> AsyncGenerator[Piece | Finished, None]:
            yield Piece("é", (TokenLogprob("é", -0.5, (("é", -0.5), ("e", float("-inf")))),))
            yield Finished("stop", 1, 1)

    url = await serve(WithLogprobs([[]]))
    answer = (await web.post(url + PATH, json=body(logprobs=True, top_logprobs=2))).json()
    entry = answer["choices"][0]["logprobs"]["content"][0]
    assert (entry["token"], entry["logprob"], entry["bytes"]) == ("é", -0.5, [0xC3, 0xA9])
    assert [other["logprob"] for other in entry["top_logprobs"]] == [-0.5, -9999.0]


async def test_a_score(serve: Serve, web: httpx.AsyncClient) -> None:
    engine = ScriptedEngine([], scores=[[TokenLogprob("é", -0.5, (("e", float("-inf")),))], RequestRefused("No.")])
    url = await serve(engine)
    messages = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "é"}]
    asked = body(messages=messages, continue_final_message=True, logprobs=True, top_logprobs=1)
    answer = (await web.post(url + "/engine/score", json=asked)).json()
    assert answer["model"] == "scripted"
    (entry,) = answer["logprobs"]["content"]
    assert (entry["token"], entry["logprob"], entry["bytes"]) == ("é", -0.5, [0xC3, 0xA9])
    assert entry["top_logprobs"] == [{"token": "e", "logprob": -9999.0, "bytes": [0x65]}]
    (request,) = engine.scored
    assert (request.continue_last, request.sampling.top_logprobs) == (True, 1)
    assert (await web.post(url + "/engine/score", json=asked)).status_code == 400
    for wrong in (body(messages=messages), {**asked, "top_logprobs": 21}, {**asked, "messages": messages[:1]}):
        assert (await web.post(url + "/engine/score", json=wrong)).status_code == 400
    assert len(engine.scored) == 2


async def test_models_and_health(serve: Serve, web: httpx.AsyncClient) -> None:
    url = await serve(ScriptedEngine([["x"]], context=777), fingerprint="abc")
    assert (await web.get(url + "/v1/models")).json()["data"][0]["max_model_len"] == 777
    health = (await web.get(url + "/health")).json()
    assert (health["status"], health["model"], health["fingerprint"]) == ("ready", "scripted", "abc")
    assert {"version", "pid", "detail"} <= set(health)
    assert (await web.get(url + "/nothing")).json()["error"]["message"]
    assert (await web.get(url + PATH)).status_code == 405


async def test_only_the_private_engine_can_be_asked_to_leave(serve: Serve, web: httpx.AsyncClient) -> None:
    activity = Activity()
    url = await serve(ScriptedEngine([["x"]]), activity=activity)
    assert (await web.post(url + "/engine/leave", json={})).status_code == 404
    assert not activity.asked_to_leave
    private = await serve(ScriptedEngine([["x"]]), activity=activity, private=True)
    assert (await web.post(private + "/engine/leave", json={})).status_code == 202
    assert activity.asked_to_leave


async def test_a_token_is_asked_of_every_request(serve: Serve, web: httpx.AsyncClient) -> None:
    url = await serve(ScriptedEngine([["x"]]), token="s3cret")
    for path in ("/health", "/v1/models"):
        for wrong in ("", "Bearer s3cre", "Bearer s3cret2", "Basic s3cret", "s3cret"):
            response = await web.get(url + path, headers={"Authorization": wrong} if wrong else {})
            assert response.status_code == 401
        good = await web.get(url + path, headers={"Authorization": "Bearer s3cret"})
        assert good.status_code == 200
    assert (await web.post(url + PATH, json=body())).status_code == 401


async def test_other_names_and_other_sites_are_kept_out(serve: Serve, web: httpx.AsyncClient) -> None:
    engine = ScriptedEngine([["x"]])
    url = await serve(engine, hosts=LOOPBACK)
    port = url.rpartition(":")[2]
    for name in ("evil.example", f"evil.example:{port}", "127.0.0.1.evil.example", "localhost.evil", "[::2]", ""):
        assert (await web.get(url + "/v1/models", headers={"Host": name})).status_code in {400, 403}
    for name in (f"localhost:{port}", "127.0.0.1", f"[::1]:{port}", "LOCALHOST"):
        assert (await web.get(url + "/v1/models", headers={"Host": name})).status_code == 200
    # A form or a plain-text post from a web page needs no permission of ours; JSON does.
    plain = await web.post(url + PATH, content=json.dumps(body()), headers={"Content-Type": "text/plain"})
    assert plain.status_code == 415
    assert engine.requests == []
