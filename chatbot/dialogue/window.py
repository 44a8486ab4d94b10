"""Which part of a conversation the model gets to read.

The window holds the system prompt, as many of the newest turns as fit, and room for the reply. Turns go out whole and
oldest first. When they no longer fit, so many go that the rest takes three quarters of the room: the beginning of the
prompt then stays the same for several turns, and with it the engine's KV cache. Where the prompt begins is written
down with each reply; the next turn begins there too. So the choice follows from the messages alone, and regenerating a
reply, or another process, sees the same prompt.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from chatbot.dialogue.counting import TokenCounter
from chatbot.dialogue.prompt import assemble
from chatbot.errors import PromptTooLong
from chatbot.models.template import ChatMessage
from chatbot.store.records import Message

KEPT_SHARE = 0.75
_REFILL_BELOW = 0.5  # after turns were deleted: below this, older ones come in again
_REPLY_TOKENS = 1024
_COUNTED = 2  # windows: how far a prompt that is too long is counted, to tell by how much
START = "context_start"
"""The key in a reply's `generation` that names the oldest message which the model read."""


@dataclass(frozen=True, slots=True)
class Context:
    """What fits: the messages for the model, and how that was decided."""

    messages: tuple[ChatMessage, ...]
    tokens: int
    window: int
    kept: int
    """How many of the branch's messages."""
    start: str
    """The oldest of them."""
    exact: bool


def fit(
    branch: Iterable[Message], system: str, window: int, counter: TokenCounter, *, max_tokens: int | None = None
) -> Context:
    """Chooses from `branch` (newest first; read only as far as needed). Raises PromptTooLong if the newest turn alone
    does not fit."""
    limit = window - reserve(window, max_tokens)
    turns = _Turns(branch)
    system_cost = counter.cost(system, stop_at=limit)
    room = limit - system_cost
    kept = [next(turns)]
    total = _cost(kept[0], counter, _COUNTED * window)
    if total > room:
        raise _too_long(system_cost + total, window, limit, counter)
    target = room
    for turn in turns:
        if turns.start is not None and target == room and turn[0].id < turns.start:
            if total >= _REFILL_BELOW * room:
                break
            target = int(KEPT_SHARE * room)
        cost = _cost(turn, counter, limit)
        if cost > room and len(turn) == 1:
            continue  # a prompt that never fitted and was never answered must not hide what stands above it
        if total + cost > target:
            if target == room:
                total = _drop_oldest(kept, total, int(KEPT_SHARE * room), counter)
            break
        kept.append(turn)
        total += cost
    return _check(kept, system, window, limit, counter)


def reserve(window: int, max_tokens: int | None) -> int:
    """The room kept free for the reply, in tokens: what was asked for, but never more than a quarter of the window."""
    return min(max_tokens or _REPLY_TOKENS, window // 4)


class _Turns(Iterator[tuple[Message, ...]]):
    """Groups messages that come newest first into turns, each oldest first: a user's message and the replies to it.

    `start` becomes the recorded beginning of the newest reply that has one.
    """

    def __init__(self, branch: Iterable[Message]) -> None:
        self._branch = iter(branch)
        self.start: str | None = None

    def __next__(self) -> tuple[Message, ...]:
        turn: list[Message] = []
        for message in self._branch:
            turn.append(message)
            if message.role == "assistant" and self.start is None:
                self.start = message.generation.get(START)
            if message.role == "user":
                break
        if not turn:
            raise StopIteration
        return tuple(reversed(turn))


def _cost(turn: Sequence[Message], counter: TokenCounter, limit: int) -> int:
    return sum(counter.cost(message.content, stop_at=limit) for message in turn)


def _drop_oldest(kept: list[tuple[Message, ...]], total: int, target: int, counter: TokenCounter) -> int:
    while len(kept) > 1 and total > target:
        total -= _cost(kept.pop(), counter, total)
    return total


def _check(kept: list[tuple[Message, ...]], system: str, window: int, limit: int, counter: TokenCounter) -> Context:
    """Counts the prompt as the model will read it; the sum of single costs was an approximation."""
    while True:
        messages = [message for turn in reversed(kept) for message in turn]
        assembled = assemble(system, messages)
        tokens = counter.count(assembled)
        if tokens <= limit:
            return Context(assembled, tokens, window, len(messages), messages[0].id, counter.exact)
        if len(kept) == 1:
            raise _too_long(tokens, window, limit, counter)
        kept.pop()


def _too_long(tokens: int, window: int, limit: int, counter: TokenCounter) -> PromptTooLong:
    size = (
        f"more than {_COUNTED * window:,}"
        if tokens > _COUNTED * window
        else f"{'' if counter.exact else 'about '}{tokens:,}"
    )
    return PromptTooLong(
        f"The message and the system prompt take {size} tokens; the model's window "
        f"holds {window:,}, of which {window - limit:,} are kept for the reply.",
        hint="The message is kept in the conversation: edit it to shorten it.",
    )
