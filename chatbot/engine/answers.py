"""Reading what an OpenAI-compatible server answers, ours or another's.

Servers differ: some send usage in a chunk of its own, some in the last, some never; some send comments, empty choices
or fields of their own. What is not understood is passed over; what is said in an error is shown on one clean line.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from chatbot.engine.protocol import EngineModel, Finished, FinishReason, Health, Piece, TokenLogprob
from chatbot.engine.wire import ERROR_CODES
from chatbot.errors import ChatbotError, EngineError, EngineLost, EngineUnavailable, ModelNotFound, RequestRefused
from chatbot.text import printable_line

_ORDINARY_CONTEXT = 4096
_LONGEST_LINE = 16 << 20
_LARGEST_LOGPROB = 1e5
_CONTEXT_NAMES = ("max_model_len", "context_length", "max_context_length", "context_window", "n_ctx", "n_ctx_train")


class StreamReader:
    """Turns the bytes of an event stream into pieces; `finish` gives the Finished that ends them.

    Lines end with LF or CR LF only. str.splitlines, and so httpx's aiter_lines, also breaks at U+2028, U+0085 and other
    characters that JSON may hold as they are: a reply that contains one would be cut in the middle of an event.
    """

    def __init__(self) -> None:
        self.done = False
        self._rest = bytearray()
        self._reason: FinishReason | None = None
        self._usage: dict[str, Any] = {}
        self._pieces = 0

    def feed(self, block: bytes) -> Iterator[Piece]:
        """The pieces in the lines that `block` completes; an empty block says that nothing more will come.

        Raises EngineError if the server reports an error or sends what cannot be read.
        """
        block = block or b"\n"
        self._rest += block
        if len(self._rest) > _LONGEST_LINE:
            raise EngineError(f"The server sent an event of more than {_LONGEST_LINE >> 20} MiB.")
        if b"\n" not in block:
            return
        *lines, rest = self._rest.split(b"\n")
        self._rest = rest
        for line in lines:
            if self.done:
                return
            yield from self._read_line(line.removesuffix(b"\r").decode("utf-8", "replace"))

    def _read_line(self, line: str) -> Iterator[Piece]:
        name, _, data = line.partition(":")
        if name != "data":
            return  # a comment, an empty line, an event's name
        data = data.strip()
        if data == "[DONE]":
            self.done = True
            return
        try:
            chunk = json.loads(data)
        except (ValueError, RecursionError):
            raise EngineError("The server sent an event that is not JSON.") from None
        if not isinstance(chunk, dict):
            return
        if chunk.get("error"):
            kind = chunk["error"].get("type") if isinstance(chunk["error"], dict) else ""
            raise explain_error(chunk["error"], 400 if kind == "invalid_request_error" else 500)
        if isinstance(usage := chunk.get("usage"), dict):
            self._usage = usage
        choices = chunk.get("choices")
        if not isinstance(choices, list):
            return
        for choice in choices:
            if not isinstance(choice, dict):
                continue
            delta = choice.get("delta")
            text = delta.get("content") if isinstance(delta, dict) else None
            text = text if isinstance(text, str) else ""
            logprobs = read_logprobs(choice.get("logprobs"))
            if text or logprobs:
                self._pieces += 1
                yield Piece(text, logprobs)
            if isinstance(reason := choice.get("finish_reason"), str):
                self._reason = "length" if reason in {"length", "max_tokens"} else "stop"

    def finish(self) -> Finished:
        """Raises EngineLost if the stream ended without saying why."""
        if self._reason is None and not self.done:
            raise EngineLost("The reply broke off in the middle.", hint="What arrived is kept; try again.")
        details = self._usage.get("prompt_tokens_details")
        return Finished(
            self._reason or "stop",
            prompt_tokens=_read_count(self._usage.get("prompt_tokens")),
            # A server that counts nothing sends about a token with each piece.
            completion_tokens=_read_count(self._usage.get("completion_tokens")) or self._pieces,
            cached_tokens=_read_count(details.get("cached_tokens")) if isinstance(details, dict) else 0,
        )


def read_models(content: Any, context: int) -> list[EngineModel]:
    """The models that /v1/models lists. The window: what the server says, else `context`, else 4096."""
    entries = content.get("data") if isinstance(content, dict) else None
    if not isinstance(entries, list):
        raise EngineError("The server's list of models cannot be read.")
    models = []
    for entry in entries:
        if isinstance(entry, dict) and isinstance(name := entry.get("id"), str):
            window = _find_context(entry) or context or _ORDINARY_CONTEXT
            models.append(EngineModel(name, min(window, context) if context else window))
    return models


def read_health(content: Any) -> Health | None:
    """What our own /health tells; None if `content` is anything else, which another server may well say."""
    status = content.get("status") if isinstance(content, dict) else None
    for known in ("starting", "loading", "ready", "failed"):
        if status == known:
            detail, model = (printable_line(str(content.get(name) or ""), 200) for name in ("detail", "model"))
            return Health(known, detail, model)
    return None


def explain_refusal(status: int, body: bytes, place: str) -> ChatbotError:
    """The error that an HTTP status and its body stand for."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        content = None
    error = content.get("error") if isinstance(content, dict) else None
    if error is None and isinstance(content, dict):
        error = content.get("message") or content.get("detail")
    return explain_error(error, status, place)


def explain_error(error: Any, status: int, place: str = "The server") -> ChatbotError:
    """The error that `error`, an object or a sentence in OpenAI's form, stands for; `status` decides without a code."""
    fields = error if isinstance(error, dict) else {"message": error}
    message = fields.get("message")
    told = printable_line(message, 500) if isinstance(message, str) else ""
    hint = fields.get("hint")
    hint = printable_line(hint, 500) if isinstance(hint, str) else ""
    code = fields.get("code")
    for kind, name, _ in ERROR_CODES:
        if code == name and kind is not RequestRefused:
            return kind(told or f"{place} reports: {name}.", hint=hint)
    code = code if isinstance(code, str) else ""
    if status == 404 and "model" in told.lower():
        return ModelNotFound(told, hint=hint)
    if status in {401, 403}:
        return RequestRefused(
            told or f"{place} refuses the token.", hint=hint or "Set CHATBOT_ENGINE_TOKEN.", code=code or "unauthorized"
        )
    if status < 500:
        return RequestRefused(told or f"{place} refused the request (HTTP {status}).", hint=hint, code=code)
    if status in {502, 503, 504}:
        return EngineUnavailable(told or f"{place} is not ready (HTTP {status}).", hint=hint)
    return EngineError(told or f"{place} failed (HTTP {status}).", hint=hint)


def _find_context(entry: dict[str, Any]) -> int:
    places = (entry, entry.get("meta"))
    counts = (_read_count(place.get(name)) for place in places if isinstance(place, dict) for name in _CONTEXT_NAMES)
    return next((count for count in counts if count), 0)


def _read_count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def read_logprobs(content: Any) -> tuple[TokenLogprob, ...]:
    """The tokens that a `logprobs` object tells of; those that cannot be understood are left out."""
    entries = content.get("content") if isinstance(content, dict) else None
    if not isinstance(entries, list):
        return ()
    read = []
    for entry in entries:
        if (pair := _read_pair(entry)) is not None:
            others = entry.get("top_logprobs")
            top = (_read_pair(other) for other in others) if isinstance(others, list) else ()
            read.append(TokenLogprob(*pair, tuple(other for other in top if other is not None)))
    return tuple(read)


def _read_pair(entry: Any) -> tuple[str, float] | None:
    if not isinstance(entry, dict):
        return None
    token, logprob = entry.get("token"), entry.get("logprob")
    if not isinstance(token, str) or not isinstance(logprob, int | float) or not abs(logprob) < _LARGEST_LOGPROB:
        return None  # also what is no number (NaN), and what is too large for one
    return token, float(logprob)
