"""One reply, from the empty row to its final state.

Whatever happens (the engine dies, the reader closes the stream, the task is cancelled), the row ends with the text that
came and a status that says how; and while text comes, a keeper writes it to the database, so that a process that is
killed loses at most half a second of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass
from typing import Any

from chatbot.dialogue.counting import TokenCounter
from chatbot.dialogue.events import ContextReport, ReplyEnded, ReplyStarted, TextAdded, TurnEvent
from chatbot.dialogue.repetition import compression_ratio
from chatbot.engine.protocol import Engine, Finished, GenerationRequest, Sampling
from chatbot.errors import ChatbotError, DatabaseBusy, EngineLost
from chatbot.store.database import Store
from chatbot.store.records import Message, Status
from chatbot.store.threads import run_in_thread
from chatbot.text import storable

KEEP_SECONDS = 0.15
"""From a piece's arrival to the write that keeps it; with the write itself well below the half second promised."""


@dataclass(frozen=True, slots=True)
class ReplyPlan:
    """All that is decided before the engine is asked."""

    reply_id: str
    user: Message | None
    request: GenerationRequest
    context: ContextReport
    counter: TokenCounter
    generation: dict[str, Any]
    begin: Callable[[dict[str, Any]], Message]
    """Makes the row, or sets an old one to `streaming`."""
    content: str = ""
    """What a reply has already that goes on, or that begins with words of the reader's choice."""


class Reply:
    """Writes one reply."""

    def __init__(self, store: Store, engine: Engine, plan: ReplyPlan) -> None:
        self._store = store
        self._engine = engine
        self._plan = plan
        self._text = plan.content
        self._pieces = 0
        self._logprobs: list[float] = []  # of the drawn tokens, as far as the engine tells
        self._asked = 0.0
        self._first = 0.0
        self._last = 0.0
        self._finished: Finished | None = None

    async def run(self) -> AsyncGenerator[TurnEvent, None]:
        """ReplyStarted, TextAdded…, ReplyEnded. Raises what the engine raised, after the row says `failed`."""
        plan = self._plan
        status: Status = "stopped"
        reason = ""
        keeper = _Keeper(self._store, plan.reply_id)
        begun = False
        ended: Message | None = None
        try:
            reply = await run_in_thread(plan.begin, self._describe())
            begun = True
            yield ReplyStarted(plan.user, reply, plan.context)
            self._asked = time.monotonic()
            async with aclosing(self._engine.stream(plan.request)) as stream:
                async for item in stream:
                    if isinstance(item, Finished):
                        self._finished = item
                        continue
                    self._logprobs += (token.logprob for token in item.logprobs)
                    if item.text:
                        self._add(item.text)
                        keeper.keep(self._text)
                        yield TextAdded(plan.reply_id, storable(item.text))
            if self._finished is None:
                raise EngineLost("The engine ended the reply without finishing it.", hint="Continue or regenerate it.")
            status, reason = "complete", self._finished.reason
        except ChatbotError as error:
            status, reason = "failed", error.message
            raise
        except (asyncio.CancelledError, GeneratorExit):
            begun = True  # a cancelled `begin` has come to its end in its thread
            raise
        except BaseException as error:
            status, reason = "failed", f"{type(error).__name__}: {error}"
            raise
        finally:
            keeper.stop()
            if begun:
                ended = await run_in_thread(self._finish, status, reason)
        assert ended is not None
        conversation = await run_in_thread(self._store.conversations.get, ended.conversation_id)
        yield ReplyEnded(ended, conversation.title)

    def _add(self, text: str) -> None:
        self._last = time.monotonic()
        self._first = self._first or self._last
        self._pieces += 1
        self._text += storable(text)

    def _finish(self, status: Status, reason: str) -> Message | None:
        if not self._store.replies.exists(self._plan.reply_id):
            return None
        described = self._describe(reason)
        if self._text:
            described["compression_ratio"] = round(compression_ratio(self._text), 3)
        return self._store.replies.finish(self._plan.reply_id, self._text, status, reason, described)

    def _describe(self, reason: str = "") -> dict[str, Any]:
        """The row's `generation`. A reply that went on keeps a list of its parts: each can be repeated from the text
        before it (`from_character`) with its own seed."""
        part = dict(self._plan.generation)
        earlier = part.pop("parts", [])
        if self._finished:
            part["prompt_tokens"] = self._finished.prompt_tokens
            part["completion_tokens"] = self._finished.completion_tokens
            part["cached_tokens"] = self._finished.cached_tokens
        elif self._pieces:
            added = self._text[len(self._plan.content) :]
            part["completion_tokens"] = self._plan.counter.count_text(added)
        if self._pieces:
            part["time_to_first_token"] = round(self._first - self._asked, 4)
            tokens, seconds = part["completion_tokens"], self._last - self._first
            if tokens > 1 and seconds > 0:
                part["tokens_per_second"] = round((tokens - 1) / seconds, 2)
        if self._logprobs:
            part["mean_logprob"] = round(sum(self._logprobs) / len(self._logprobs), 4)
        if not earlier:
            return part
        part["finish_reason"] = reason
        part["from_character"] = len(self._plan.content)
        parts = [*earlier, part]
        counts = [count for item in parts if isinstance(count := item.get("completion_tokens"), int)]
        whole = {**part, "completion_tokens": sum(counts), "parts": parts}
        whole.pop("mean_logprob", None)
        if (mean := _average(parts, len(self._text))) is not None:
            whole["mean_logprob"] = mean
        return whole


def _average(parts: Sequence[dict[str, Any]], length: int) -> float | None:
    """The mean log-probability over the tokens of all parts; None if one that wrote something does not know its own."""
    total, tokens = 0.0, 0
    ends = [*(part.get("from_character", 0) for part in parts[1:]), length]
    for part, end in zip(parts, ends, strict=True):
        mean, count = part.get("mean_logprob"), part.get("completion_tokens")
        if end == part.get("from_character", 0):
            continue
        if not isinstance(mean, float) or not isinstance(count, int):  # another server's, or an import's
            return None
        total, tokens = total + mean * count, tokens + count
    return round(total / tokens, 4) if tokens else None


class _Keeper:
    """Writes a growing text to the database, soon after each change, without holding up whoever adds to it."""

    def __init__(self, store: Store, reply_id: str) -> None:
        self._store = store
        self._reply_id = reply_id
        self._text = ""
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def keep(self, text: str) -> None:
        """Raises StoreError if an earlier text could not be kept: going on would only lose more."""
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        elif self._task.done():
            self._task.result()
        self._text = text
        self._changed.set()

    def stop(self) -> None:
        """Does not wait for a write in its thread: one that comes late finds the row finished and changes nothing."""
        if self._task is not None:
            self._task.cancel()
            # Looked at, so that asyncio does not complain of an error that the last write will raise as well.
            self._task.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def _run(self) -> None:
        while True:
            await self._changed.wait()
            await asyncio.sleep(KEEP_SECONDS)
            self._changed.clear()
            with contextlib.suppress(DatabaseBusy):  # another writer was slow; the next write holds this text too
                await run_in_thread(self._store.replies.grow, self._reply_id, self._text)


def describe_sampling(sampling: Sampling) -> dict[str, Any]:
    """The parameters that were set."""
    return {name: value for name, value in asdict(sampling).items() if value not in {None, ()}}
