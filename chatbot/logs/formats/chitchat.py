"""The data set of the package `chitchat-dataset`: an object of conversations between two people, by their UUID.

    {"a07e…": {"prompt": "…", "messages": [[{"text": "…", "timestamp": "…", "sender": "…"}, …], …], "ratings": …}}

Who speaks first is the user, the other the assistant. Some wait in vain for an answer, and some messages are empty:
all are kept as they are. `prompt` is the topic that both were given and becomes the title. The ratings (how witty,
upbeat and interesting, 1 to 10) are of whole conversations and ours are of messages, so they are left out. `start` is
left out, too: it is some hours away from the messages' own times.
"""

from __future__ import annotations

from typing import Any

from chatbot.errors import InvalidInput
from chatbot.logs.formats.fields import read_list, read_mapping, read_text, read_time
from chatbot.logs.formats.format import Format
from chatbot.logs.formats.turns import require_words
from chatbot.store.archive_records import ArchivedConversation, ArchivedMessage


def _matches(record: Any) -> bool:
    turn = next(iter(read_list(read_mapping(record).get("messages"))), None)
    said = next(iter(read_list(turn)), None)
    return isinstance(said, dict) and {"text", "sender", "timestamp"} <= said.keys()


def _convert(record: Any, key: str) -> ArchivedConversation:
    messages: list[ArchivedMessage] = []
    senders: list[str] = []
    for said in [read_mapping(said) for turn in record["messages"] for said in read_list(turn)]:
        number = len(messages) + 1
        sender, text = said.get("sender"), said.get("text")
        if not isinstance(sender, str) or not isinstance(text, str):
            raise InvalidInput(f"message {number} has no sender or no text")
        if sender not in senders:
            senders.append(sender)
        if len(senders) > 2:
            raise InvalidInput("more than two people speak")
        messages.append(
            ArchivedMessage(
                key=str(number),
                parent=messages[-1].key if messages else None,
                role="user" if sender == senders[0] else "assistant",
                content=text,
                created=read_time(said.get("timestamp")),
            )
        )
    require_words(messages)
    times = [message.created for message in messages if message.created]
    return ArchivedConversation(
        key,
        tuple(messages),
        title=read_text(record.get("prompt")),
        created=min(times, default=None),
        updated=max(times, default=None),
    )


FORMAT = Format("chitchat", "chitchat-dataset", _matches, _convert, lambda record, name: name)  # noqa: ARG005
