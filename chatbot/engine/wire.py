"""The OpenAI chat protocol in our words: requests in, answers and errors out.

https://platform.openai.com/docs/api-reference/chat, with the extensions that vLLM made usual: top_k, min_p,
repetition_penalty, continue_final_message. What this engine cannot do (tools, images, several choices) is refused with
a sentence; it is never quietly left out of the answer.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from chatbot.engine.protocol import Finished, GenerationRequest, Piece, Sampling
from chatbot.errors import (
    ChatbotError,
    EngineError,
    EngineLost,
    EngineUnavailable,
    ModelDamaged,
    ModelError,
    ModelNotFound,
    ModelRefused,
    OutOfMemory,
    RequestRefused,
)
from chatbot.models.template import ChatMessage, Role
from chatbot.text import printable_line

# Errors that keep their class over the wire: code in the answer, HTTP status. The first that fits is taken.
ERROR_CODES: tuple[tuple[type[ChatbotError], str, int], ...] = (
    (ModelNotFound, "model_not_found", 404),
    (ModelDamaged, "model_damaged", 500),
    (ModelRefused, "model_refused", 400),
    (OutOfMemory, "out_of_memory", 503),
    (EngineUnavailable, "engine_unavailable", 503),
    (EngineLost, "engine_lost", 502),
    (RequestRefused, "invalid_request", 400),
    (ModelError, "model_error", 500),
    (EngineError, "engine_error", 500),
)
_STATUS_OF_CODE = {"overloaded": 429, "unauthorized": 401, "forbidden": 403, "too_large": 413, "wrong_type": 415}


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, allow_inf_nan=False, extra="ignore")


class _TextPart(_Strict):
    type: str
    text: str | None = None


class _Message(_Strict):
    role: str
    content: str | list[_TextPart] | None = None
    tool_calls: list[Any] | None = None


class _StreamOptions(_Strict):
    include_usage: bool = False


class ChatCompletionRequest(_Strict):
    """The body of POST /v1/chat/completions, as far as it means anything here. Fields that are unknown are ignored,
    as other servers do; known ones that we cannot obey are refused by `to_request`."""

    model: Annotated[str, Field(min_length=1, max_length=500)]
    messages: Annotated[list[_Message], Field(min_length=1)]
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    temperature: Annotated[float, Field(ge=0, le=100)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=-1, le=1 << 30)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    repetition_penalty: Annotated[float, Field(ge=0.01, le=100)] | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    seed: Annotated[int, Field(ge=-(1 << 63), lt=1 << 64)] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=1 << 30)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1, le=1 << 30)] | None = None
    stop: str | list[str] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    n: int | None = None
    tools: list[Any] | None = None
    functions: list[Any] | None = None
    logit_bias: dict[str, float] | None = None
    response_format: dict[str, Any] | None = None
    continue_final_message: bool = False
    add_generation_prompt: bool | None = None

    def to_request(self) -> GenerationRequest:
        """What the engine is asked. Raises RequestRefused for what it cannot do."""
        refusals = {
            "n other than 1": self.n not in {None, 1},
            "tools": bool(self.tools or self.functions),
            "logit_bias": bool(self.logit_bias),
            "frequency_penalty and presence_penalty": bool(self.frequency_penalty or self.presence_penalty),
            "response_format other than text": (self.response_format or {}).get("type", "text") != "text",
        }
        for what, asked in refusals.items():
            if asked:
                raise RequestRefused(f"This server does not support {what}.", code="unsupported")
        if self.top_logprobs is not None and not self.logprobs:
            raise RequestRefused("top_logprobs needs logprobs to be true.", code="invalid_value")
        if self.continue_final_message and self.add_generation_prompt:
            raise RequestRefused(
                "continue_final_message and add_generation_prompt exclude each other.", code="invalid_value"
            )
        messages = tuple(_read_message(number, message) for number, message in enumerate(self.messages))
        if self.continue_final_message and messages[-1].role != "assistant":
            raise RequestRefused(
                "continue_final_message needs the last message to be the assistant's.", code="invalid_value"
            )
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())
        if len(stop) > 16 or not all(stop):
            raise RequestRefused("stop takes up to 16 strings, none of them empty.", code="invalid_value")
        sampling = Sampling(
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=None if self.top_k is None else max(self.top_k, 0),
            min_p=self.min_p,
            repetition_penalty=self.repetition_penalty,
            seed=self.seed,
            max_tokens=self.max_completion_tokens or self.max_tokens,
            stop=stop,
            top_logprobs=(self.top_logprobs or 0) if self.logprobs else None,
        )
        return GenerationRequest(self.model, messages, sampling, self.continue_final_message)


def parse_request(body: bytes) -> ChatCompletionRequest:
    """Raises RequestRefused that names the field at fault."""
    try:
        return ChatCompletionRequest.model_validate_json(body)
    except ValidationError as error:
        complaint = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(str(key) for key in complaint["loc"])
        reason = printable_line(complaint["msg"], 200)
        raise RequestRefused(f"{place}: {reason}." if place else f"{reason}.", code="invalid_value") from None


def _read_message(number: int, message: _Message) -> ChatMessage:
    roles: dict[str, Role] = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
    role = roles.get(message.role)
    if role is None:
        raise RequestRefused(
            f"messages.{number}: the role must be system, user or assistant, not {printable_line(message.role, 40)!r}.",
            code="invalid_value",
        )
    if message.tool_calls:
        raise RequestRefused(f"messages.{number}: this server does not support tool calls.", code="unsupported")
    if not isinstance(message.content, list):
        return ChatMessage(role, message.content or "")
    for part in message.content:
        if part.type != "text" or part.text is None:
            raise RequestRefused(
                f"messages.{number}: only text parts are supported, not {printable_line(part.type, 40)!r}.",
                code="unsupported",
            )
    return ChatMessage(role, "".join(part.text or "" for part in message.content))


def describe_error(error: ChatbotError) -> tuple[int, dict[str, Any]]:
    """The HTTP status and the body that stand for `error`."""
    code, status = next(((code, status) for kind, code, status in ERROR_CODES if isinstance(error, kind)), ("", 500))
    if isinstance(error, RequestRefused) and error.code:
        code, status = error.code, _STATUS_OF_CODE.get(error.code, 400)
    kind = "invalid_request_error" if status < 500 else "server_error"
    body = {"message": error.message, "type": kind, "param": None, "code": code or "error", "hint": error.hint}
    return status, {"error": body}


def describe_logprobs(piece: Piece) -> dict[str, Any] | None:
    if not piece.logprobs:
        return None
    return {
        "content": [
            {**_token(entry.token, entry.logprob), "top_logprobs": [_token(*other) for other in entry.top]}
            for entry in piece.logprobs
        ],
        "refusal": None,
    }


def _token(token: str, logprob: float) -> dict[str, Any]:
    # JSON has no infinity; the API's own word for "almost impossible" is -9999.
    return {"token": token, "logprob": max(logprob, -9999.0), "bytes": list(token.encode("utf-8", "replace"))}


def describe_usage(finished: Finished) -> dict[str, Any]:
    return {
        "prompt_tokens": finished.prompt_tokens,
        "completion_tokens": finished.completion_tokens,
        "total_tokens": finished.prompt_tokens + finished.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": finished.cached_tokens},
    }


def encode_event(content: dict[str, Any] | Literal["[DONE]"]) -> bytes:
    """One server-sent event."""
    data = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    return f"data: {data}\n\n".encode()
