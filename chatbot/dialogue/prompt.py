"""From the messages of a branch to the messages that the model reads.

There is always a system message, even an empty one: some templates (SmolLM2's among them) put in a line of their own
where there is none. Empty replies say nothing and are left out; two messages of one role in a row, which remain when a
reply was dropped or never came, become one, because many templates insist that roles alternate.
"""

from __future__ import annotations

from collections.abc import Sequence

from chatbot.models.template import ChatMessage
from chatbot.store.records import Message


def assemble(system: str, messages: Sequence[Message]) -> tuple[ChatMessage, ...]:
    """`messages` oldest first, as they stand on the branch, below the system prompt."""
    assembled = [ChatMessage("system", system)]
    for message in messages:
        if not message.content:
            continue
        last = assembled[-1]
        if last.role == message.role:
            assembled[-1] = ChatMessage(last.role, f"{last.content}\n\n{message.content}")
        else:
            assembled.append(ChatMessage(message.role, message.content))
    return tuple(assembled)
