"""The answers that take a computation: to one chat request, whole or streamed, and to the scoring of a reply.

A reply belongs to its connection: when the client goes, whether while it queued, in the middle of the prompt or of the
text, the engine's generator is closed and the computation ends.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from chatbot.engine import wire
from chatbot.engine.activity import Activity
from chatbot.engine.protocol import Engine, Finished, GenerationRequest, Piece, TokenLogprob
from chatbot.errors import ChatbotError


def refuse(error: ChatbotError) -> JSONResponse:
    status, body = wire.describe_error(error)
    return JSONResponse(body, status)


class _Computed(Response):
    """An answer that is computed while the client waits for it. Ends the computation when the client goes."""

    def __init__(self, engine: Engine, request: GenerationRequest, activity: Activity) -> None:
        super().__init__()
        self._engine = engine
        self._request = request
        self._activity = activity

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = asyncio.create_task(self._answer(scope, receive, send))
        gone = asyncio.create_task(_wait_for_disconnect(receive))
        with self._activity:
            try:
                await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (answer, gone):
                    task.cancel()
                results = await asyncio.gather(answer, gone, return_exceptions=True)
        if isinstance(results[0], Exception):
            raise results[0]

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        raise NotImplementedError


class Scoring(_Computed):
    """The answer to POST /engine/score: the log-probabilities as a chat completion has them."""

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            tokens = await self._engine.score(self._request)
        except ChatbotError as error:
            await refuse(error)(scope, receive, send)
            return
        content = {"model": self._request.model, "logprobs": wire.describe_logprobs(Piece("", tokens))}
        await JSONResponse(content)(scope, receive, send)


class Completion(_Computed):
    """The answer to one chat request, whole or streamed."""

    def __init__(
        self, engine: Engine, asked: wire.ChatCompletionRequest, request: GenerationRequest, activity: Activity
    ) -> None:
        super().__init__(engine, request, activity)
        self._streamed = bool(asked.stream)
        self._with_usage = bool(asked.stream_options and asked.stream_options.include_usage)
        self._frame = {"id": f"chatcmpl-{secrets.token_hex(12)}", "created": int(time.time()), "model": asked.model}

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        stream = self._engine.stream(self._request)
        try:
            first = await anext(stream)
            if self._streamed:
                await self._send_stream(first, stream, send)
            else:
                await (await self._collect(first, stream))(scope, receive, send)
        except ChatbotError as error:  # before the first byte was sent, so that the status can still tell
            await refuse(error)(scope, receive, send)
        finally:
            await stream.aclose()

    async def _collect(self, first: Piece | Finished, stream: AsyncGenerator[Piece | Finished, None]) -> Response:
        texts: list[str] = []
        logprobs: list[TokenLogprob] = []
        item = first
        while isinstance(item, Piece):
            texts.append(item.text)
            logprobs += item.logprobs
            item = await anext(stream)
        message = {"role": "assistant", "content": "".join(texts), "refusal": None}
        choice = {
            "index": 0,
            "message": message,
            "logprobs": wire.describe_logprobs(Piece("", tuple(logprobs))),
            "finish_reason": item.reason,
        }
        usage = wire.describe_usage(item)
        return JSONResponse({**self._frame, "object": "chat.completion", "choices": [choice], "usage": usage})

    async def _send_stream(
        self, first: Piece | Finished, stream: AsyncGenerator[Piece | Finished, None], send: Send
    ) -> None:
        headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await self._send_chunk(send, {"role": "assistant", "content": ""})
        item = first
        try:
            while isinstance(item, Piece):
                await self._send_chunk(send, {"content": item.text}, logprobs=wire.describe_logprobs(item))
                item = await anext(stream)
        except ChatbotError as error:
            await _send_body(send, wire.encode_event(wire.describe_error(error)[1]), more=False)
            return
        await self._send_chunk(send, {}, finish_reason=item.reason)
        if self._with_usage:
            chunk = {**self._frame, "object": "chat.completion.chunk", "choices": []}
            await _send_body(send, wire.encode_event({**chunk, "usage": wire.describe_usage(item)}))
        await _send_body(send, wire.encode_event("[DONE]"), more=False)

    async def _send_chunk(self, send: Send, delta: dict[str, Any], **fields: Any) -> None:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None, **fields}
        await _send_body(
            send, wire.encode_event({**self._frame, "object": "chat.completion.chunk", "choices": [choice]})
        )


async def _send_body(send: Send, body: bytes, *, more: bool = True) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": more})


async def _wait_for_disconnect(receive: Callable[[], Awaitable[Any]]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
