"""The engine's server: the OpenAI chat protocol over any Engine, as a Starlette application.

POST /v1/chat/completions · GET /v1/models · GET /health · POST /engine/warm · POST /engine/score · on the private
socket POST /engine/leave

Nothing here knows of torch or of sockets.
"""

from __future__ import annotations

import hmac
import json
import os

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from chatbot import __version__
from chatbot.engine import wire
from chatbot.engine.activity import Activity
from chatbot.engine.completion import Completion, Scoring, refuse
from chatbot.engine.protocol import Engine
from chatbot.errors import ChatbotError, RequestRefused

MOST_BYTES = 8 << 20


def build_application(
    engine: Engine,
    *,
    token: str = "",
    hosts: frozenset[str] | None = None,
    fingerprint: str = "",
    activity: Activity | None = None,
    private: bool = False,
) -> ASGIApp:
    """The application.

    `token`: asked of every request. `hosts`: the only names that a Host header may carry; a page of another site that
    points its own name at this machine (DNS rebinding) is so kept out. `fingerprint`: of the engine's settings.
    `private`: whoever can ask may also ask the process to leave.
    """
    handlers = _Handlers(engine, fingerprint, activity or Activity())
    application = Starlette(
        routes=[
            Route("/v1/chat/completions", handlers.complete, methods=["POST"]),
            Route("/v1/models", handlers.list_models),
            Route("/health", handlers.report_health),
            Route("/engine/warm", handlers.warm, methods=["POST"]),
            Route("/engine/score", handlers.score, methods=["POST"]),
            *([Route("/engine/leave", handlers.leave, methods=["POST"])] if private else []),
        ],
        exception_handlers={404: _refuse_route, 405: _refuse_route, Exception: _confess},
    )
    return _Guard(application, token, hosts)


class _Guard:
    """Turns away who may not ask, before anything of the request is read."""

    def __init__(self, application: ASGIApp, token: str, hosts: frozenset[str] | None) -> None:
        self._application = application
        self._token = token.encode()
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        headers = dict(scope["headers"])
        refusal = None
        if self._hosts is not None and _host_name(headers.get(b"host", b"")) not in self._hosts:
            refusal = RequestRefused("This server answers to its own name only.", code="forbidden")
        elif self._token and not hmac.compare_digest(headers.get(b"authorization", b""), b"Bearer " + self._token):
            refusal = RequestRefused("The token is missing or wrong.", code="unauthorized")
        elif scope["method"] == "POST" and not headers.get(b"content-type", b"").startswith(b"application/json"):
            # A page of another site can post anything but JSON without being asked first (CORS "simple requests").
            refusal = RequestRefused("The Content-Type must be application/json.", code="wrong_type")
        if refusal is not None:
            await refuse(refusal)(scope, receive, send)
            return
        await self._application(scope, receive, send)


class _Handlers:
    def __init__(self, engine: Engine, fingerprint: str, activity: Activity) -> None:
        self._engine = engine
        self._fingerprint = fingerprint
        self._activity = activity

    async def complete(self, request: Request) -> Response:
        try:
            asked = wire.parse_request(await _read_body(request))
            return Completion(self._engine, asked, asked.to_request(), self._activity)
        except ChatbotError as error:
            return refuse(error)

    async def score(self, request: Request) -> Response:
        """How probable each token of the last message is; the body is that of a chat request that continues it."""
        try:
            asked = wire.parse_request(await _read_body(request)).to_request()
            if not asked.continue_last:
                raise RequestRefused("Scoring needs continue_final_message to be true.", code="invalid_value")
            return Scoring(self._engine, asked, self._activity)
        except ChatbotError as error:
            return refuse(error)

    async def list_models(self, _: Request) -> Response:
        try:
            models = await self._engine.models()
        except ChatbotError as error:
            return refuse(error)
        entries = [
            {"id": model.name, "object": "model", "created": 0, "owned_by": "chatbot", "max_model_len": model.context}
            for model in models
        ]
        return JSONResponse({"object": "list", "data": entries})

    async def report_health(self, _: Request) -> Response:
        health = await self._engine.health()
        return JSONResponse(
            {
                "status": health.status,
                "detail": health.detail,
                "model": health.model,
                "version": __version__,
                "pid": os.getpid(),
                "fingerprint": self._fingerprint,
                "running": self._activity.running,
            }
        )

    async def warm(self, request: Request) -> Response:
        try:
            content = json.loads(await _read_body(request))
            model = content.get("model") if isinstance(content, dict) else None
            if not isinstance(model, str) or not model:
                raise RequestRefused("model: a name is needed.", code="invalid_value")
            with self._activity:
                await self._engine.warm(model)
        except ChatbotError as error:
            return refuse(error)
        except (ValueError, RecursionError):
            return refuse(RequestRefused("The body is not JSON.", code="invalid_value"))
        return JSONResponse({"model": model}, 202)

    async def leave(self, _: Request) -> Response:
        """Asks the process to end as soon as no request runs."""
        self._activity.ask_to_leave()
        return JSONResponse({"running": self._activity.running}, 202)


async def _read_body(request: Request) -> bytes:
    body = bytearray()
    try:
        async for block in request.stream():
            body += block
            if len(body) > MOST_BYTES:
                raise RequestRefused(f"The request is larger than {MOST_BYTES >> 20} MiB.", code="too_large")
    except ClientDisconnect:
        raise RequestRefused("The request ended early.") from None
    return bytes(body)


async def _refuse_route(_: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 404)
    return JSONResponse(
        {"error": {"message": "There is nothing here.", "type": "invalid_request_error", "param": None, "code": None}},
        status,
    )


async def _confess(_: Request, __: Exception) -> Response:
    """A bug of ours: the client gets a sentence; Starlette raises the error on, into the log."""
    body = {"message": "The engine failed inside; see its log.", "type": "server_error", "param": None, "code": None}
    return JSONResponse({"error": body}, 500)


def _host_name(header: bytes) -> str:
    """The name in a Host header, without the port: `[::1]:80` → `::1`."""
    text = header.decode("latin-1").strip().lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0]
