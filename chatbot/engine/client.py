"""The engine as the rest of the program meets it: a client of the OpenAI chat protocol.

Without `engine.url` it starts or joins the private engine on its Unix socket; with one it talks to that server, be it
vLLM, llama.cpp, `transformers serve` or a `chatbot serve` elsewhere. What a foreign server sends is read with
tolerance and shown with care.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import httpx

from chatbot.config import EngineSettings, Home, Settings
from chatbot.engine.answers import StreamReader, explain_refusal, read_health, read_logprobs, read_models
from chatbot.engine.private import PrivateEngine
from chatbot.engine.protocol import EngineModel, Finished, GenerationRequest, Health, Piece, TokenLogprob
from chatbot.engine.serving import list_models
from chatbot.errors import ChatbotError, ConfigError, EngineError, EngineLost, EngineUnavailable, RequestRefused
from chatbot.models.library import ModelLibrary
from chatbot.text import printable_line

_SHORT = httpx.Timeout(10.0)
# A model may load for minutes and a long prompt may take as long before the first byte: only connecting is limited.
_PATIENT = httpx.Timeout(None, connect=10.0)


def connect_engine(settings: Settings, home: Home) -> EngineClient:
    """The engine that the settings name. Nothing is started or connected before the first request."""
    return EngineClient(settings.engine, home)


class EngineClient:
    """Implements protocol.Engine. Belongs to one event loop."""

    def __init__(self, settings: EngineSettings, home: Home) -> None:
        """Raises ConfigError if `settings.url` is no http address or the token cannot be sent."""
        self._settings = settings
        self._private = None if settings.url else PrivateEngine(settings, home)
        self._library = None if settings.url else ModelLibrary(home.models)
        if self._private is not None:
            transport = httpx.AsyncHTTPTransport(uds=str(self._private.socket))
            self._root, self._address, self._place = "http://engine", "", "The engine"
        else:
            transport = None
            self._root, self._address = _read_url(settings.url)
            self._place = f"The server {self._address}"
        token = settings.token.get_secret_value()
        if not (token.isascii() and token.isprintable()) or token != token.strip():
            raise ConfigError("engine.token has characters that no token has.", hint="Set CHATBOT_ENGINE_TOKEN anew.")
        headers = {"Authorization": f"Bearer {token}"} if token and self._private is None else {}
        # No proxy of the environment: it would see the conversations, and cannot reach a Unix socket.
        self._http = httpx.AsyncClient(transport=transport, headers=headers, timeout=_SHORT, trust_env=False)

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[Piece | Finished, None]:
        body = describe_request(request)
        for attempt in (1, 2):
            if self._private is not None:
                await self._private.ensure(self._ask, request.model)
            reader = StreamReader()
            answered = False
            try:
                async with self._http.stream(
                    "POST", f"{self._root}/v1/chat/completions", json=body, timeout=_PATIENT
                ) as response:
                    if response.status_code != 200:
                        raise explain_refusal(response.status_code, await response.aread(), self._place)
                    answered = True
                    async for block in response.aiter_bytes():
                        for item in reader.feed(block):
                            yield item
                        if reader.done:
                            break
                    for item in reader.feed(b""):
                        yield item
                yield reader.finish()
                return
            except httpx.ConnectError as error:
                if self._private is None:
                    raise EngineUnavailable(f"{self._place} cannot be reached: {_reason(error)}") from None
                if attempt == 2:
                    raise self._explain_loss() from None
            except httpx.HTTPError as error:
                if answered:
                    raise EngineLost(
                        f"{self._place} broke off in the middle of the reply.", hint="What arrived is kept; try again."
                    ) from error
                if self._private is None or attempt == 2:
                    raise self._explain_loss() from error
                # An engine that was just leaving, or that died before it said a word: a new one gets the request.

    async def score(self, request: GenerationRequest) -> tuple[TokenLogprob, ...]:
        body = describe_request(request)
        del body["stream"], body["stream_options"]
        for attempt in (1, 2):
            if self._private is not None:
                await self._private.ensure(self._ask, request.model)
            try:
                response = await self._http.post(f"{self._root}/engine/score", json=body, timeout=_PATIENT)
            except httpx.HTTPError as error:
                if self._private is None:
                    raise EngineUnavailable(f"{self._place} cannot be reached: {_reason(error)}") from None
                if attempt == 2:
                    raise self._explain_loss() from error
            else:
                return self._read_score(response)
        raise AssertionError("the second attempt returns or raises")

    async def models(self) -> list[EngineModel]:
        if self._library is not None:
            return await asyncio.to_thread(list_models, self._library, self._settings)  # no engine is started for that
        content = await self._ask("GET", "/v1/models", strict=True)
        return read_models(content, self._settings.context)

    async def health(self) -> Health:
        """Never starts an engine and never raises: what can be told without waiting."""
        try:
            content = await self._ask("GET", "/health", strict=self._private is None)
        except EngineUnavailable as error:
            return Health("failed", str(error))
        except ChatbotError:
            content = None
        if self._private is not None and self._private.waits_for_other:
            return Health("starting", self._private.state)
        if (told := read_health(content)) is not None:
            remark = self._private.explain_other(content) if self._private is not None else ""
            return replace(told, detail=", ".join(filter(None, (told.detail, remark)))) if remark else told
        if self._private is not None:
            return Health("starting", self._private.state)
        return await self._judge_foreign()

    async def warm(self, model: str) -> None:
        if self._private is None:
            return
        await self._private.ensure(self._ask, model)
        await self._ask("POST", "/engine/warm", {"model": model})

    async def leave(self) -> bool:
        """Asks the private engine to end when it is idle. False if none runs."""
        return self._private is not None and await self._ask("POST", "/engine/leave") is not None

    async def close(self) -> None:
        await self._http.aclose()

    async def _ask(self, method: str, path: str, body: Any = None, *, strict: bool = False) -> Any:
        """The JSON that a short request brings. None if nobody is there, or an EngineError when `strict`."""
        try:
            json_body = {} if method == "POST" and body is None else body
            response = await self._http.request(method, self._root + path, json=json_body)
            if response.status_code >= 400:
                raise explain_refusal(response.status_code, response.content, self._place)
            return response.json() if response.content else {}
        except httpx.HTTPError as error:
            if strict:
                raise EngineUnavailable(f"{self._place} cannot be reached: {_reason(error)}") from None
        except (ValueError, RecursionError):
            if strict:
                raise EngineError(f"{self._place} sent no JSON.") from None
        except ChatbotError:
            if strict:
                raise
        return None

    def _read_score(self, response: httpx.Response) -> tuple[TokenLogprob, ...]:
        if response.status_code == 200:
            with suppress(ValueError, RecursionError):
                content = response.json()
                if isinstance(content, dict) and (tokens := read_logprobs(content.get("logprobs"))):
                    return tokens
            raise EngineError(f"{self._place} sent no log-probabilities.")
        # Our own server says 404 for an unknown model too, by its code; others may speak of models at any address.
        if response.status_code in {404, 405} and b'"model_not_found"' not in response.content:
            raise RequestRefused(
                f"{self._place} does not tell how probable the tokens of a reply are.",
                hint="Review with the model on this machine, without `engine.url`."
                if self._private is None
                else "It is of an older version: end it with `chatbot serve --stop`.",
                code="unsupported",
            )
        raise explain_refusal(response.status_code, response.content, self._place)

    async def _judge_foreign(self) -> Health:
        """Servers agree on /v1/models only."""
        try:
            found = read_models(await self._ask("GET", "/v1/models", strict=True), 0)
        except RequestRefused as error:
            return Health("failed", error.message)
        except EngineError as error:
            return Health("loading", error.message)
        except ChatbotError as error:  # a 404 that speaks of models: no such address
            return Health("failed", error.message)
        return Health("ready", self._address, printable_line(found[0].name, 200) if found else "")

    def _explain_loss(self) -> EngineError:
        if self._private is None:
            return EngineUnavailable(f"{self._place} closed the connection without an answer.")
        reason = self._private.explain_end()
        return EngineUnavailable(
            f"The engine ended before it answered{': ' + reason if reason else '.'}",
            hint=f"Its log is {self._private.log}.",
        )


def describe_request(request: GenerationRequest) -> dict[str, Any]:
    """The body of a streamed chat request; what is None is left to the server."""
    sampling = request.sampling
    fields = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "seed": sampling.seed,
        "max_tokens": sampling.max_tokens,
        "stop": list(sampling.stop) or None,
        "logprobs": True if sampling.top_logprobs is not None else None,
        "top_logprobs": sampling.top_logprobs or None,
        # Not in OpenAI's own list, but vLLM and llama.cpp's server take them under these names.
        "top_k": sampling.top_k,
        "min_p": sampling.min_p,
        "repetition_penalty": sampling.repetition_penalty,
    }
    if request.continue_last:
        fields |= {"continue_final_message": True, "add_generation_prompt": False}
    messages = [{"role": message.role, "content": _encodable(message.content)} for message in request.messages]
    body = {"model": request.model, "messages": messages, "stream": True, "stream_options": {"include_usage": True}}
    return body | {name: value for name, value in fields.items() if value is not None}


def _read_url(url: str) -> tuple[str, str]:
    """The root without /v1, and the address to show (a URL may hold a password: it is left out)."""
    with suppress(ValueError):
        parts = urlsplit(url)
        if parts.scheme in {"http", "https"} and parts.hostname:
            path = parts.path.rstrip("/").removesuffix("/v1")
            port = f":{parts.port}" if parts.port else ""
            host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
            return f"{parts.scheme}://{parts.netloc}{path}", printable_line(f"{host}{port}", 200)
    raise ConfigError("engine.url is not an http address.", hint="It looks like http://127.0.0.1:8000/v1.")


def _encodable(text: str) -> str:
    """`text` without halves of surrogate pairs, which no JSON reader takes."""
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")


def _reason(error: Exception) -> str:
    return printable_line(str(error), 200) or type(error).__name__
