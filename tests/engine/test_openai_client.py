"""The official `openai` client against our server: over TCP on the loopback and over the private Unix socket."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import openai
import pytest

from chatbot.engine.scripted import ScriptedEngine
from chatbot.engine.torch_engine import TorchEngine
from chatbot.errors import ModelNotFound

Serve = Callable[..., Awaitable[str]]
HELLO: Any = [{"role": "user", "content": "Why is the sky blue?"}]


@pytest.fixture(params=["tcp", "unix"])
async def connect(request: pytest.FixtureRequest, serve: Serve) -> AsyncGenerator[Callable[..., Any], None]:
    """Serves an engine and gives an `AsyncOpenAI` that talks to it."""
    import httpx2

    clients: list[openai.AsyncOpenAI] = []

    async def make(engine: Any, **options: Any) -> openai.AsyncOpenAI:
        if request.param == "tcp":
            url = await serve(engine, token="s3cret", **options)
            client = openai.AsyncOpenAI(base_url=url + "/v1", api_key="s3cret", max_retries=0)
        else:
            path = await serve(engine, unix=True, **options)
            http = httpx2.AsyncClient(transport=httpx2.AsyncHTTPTransport(uds=path))
            client = openai.AsyncOpenAI(base_url="http://engine/v1", api_key="none", http_client=http, max_retries=0)
        clients.append(client)
        return client

    yield make
    for client in clients:
        await client.close()


async def test_chat_with_a_torch_model(connect: Any, start_engine: Callable[..., TorchEngine]) -> None:
    client = await connect(start_engine())
    assert {model.id for model in (await client.models.list()).data} == {"llama", "gpt2", "qwen2", "mistral"}
    options: Any = {"model": "llama", "messages": HELLO, "max_tokens": 20, "seed": 5, "temperature": 1.2}
    whole = await client.chat.completions.create(**options, logprobs=True, top_logprobs=2)
    choice = whole.choices[0]
    assert choice.message.content
    assert whole.usage.completion_tokens <= 20
    assert [len(entry.top_logprobs) for entry in choice.logprobs.content] == [2] * len(choice.logprobs.content)
    stream = await client.chat.completions.create(**options, stream=True, stream_options={"include_usage": True})
    chunks = [chunk async for chunk in stream]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == choice.message.content  # the same seed
    assert chunks[-1].usage.prompt_tokens_details.cached_tokens > 0  # and the same prompt
    extended = await client.chat.completions.create(**options, extra_body={"top_k": 1})
    greedy = await client.chat.completions.create(**{**options, "temperature": 0.0})
    assert extended.choices[0].message.content == greedy.choices[0].message.content


async def test_errors_are_the_clients_own(connect: Any) -> None:
    client = await connect(ScriptedEngine([[ModelNotFound("There is no model x.")], ["never"]]))
    with pytest.raises(openai.NotFoundError, match="no model x"):
        await client.chat.completions.create(model="x", messages=HELLO)
    with pytest.raises(openai.BadRequestError, match="n other than 1"):
        await client.chat.completions.create(model="x", messages=HELLO, n=3)
    image = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://example.org/x.png"}}]}]
    with pytest.raises(openai.BadRequestError, match="image_url"):
        await client.chat.completions.create(model="x", messages=image)


async def test_leaving_a_stream_ends_it(connect: Any) -> None:
    engine = ScriptedEngine([["word "] * 10_000], delay=0.001)
    client = await connect(engine)
    stream = await client.chat.completions.create(model="x", messages=HELLO, stream=True)
    async for chunk in stream:
        if chunk.choices[0].delta.content:
            break
    await stream.close()
    end = time.monotonic() + 1
    while not engine.closed_early:
        assert time.monotonic() < end
        await asyncio.sleep(0.005)
