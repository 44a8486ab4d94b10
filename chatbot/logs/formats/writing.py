"""Conversations as text for other programs, a piece at a time, so that an export may be larger than memory.

Our own JSON keeps everything. The forms that trainers read keep one branch, the one on screen, with the system prompt
first; hidden messages are left out. Preference pairs come from the judgements that one reply is better than another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from chatbot.errors import NotFound
from chatbot.logs.formats.branches import find_branch, find_words_to
from chatbot.logs.formats.markdown import write_markdown
from chatbot.logs.formats.own import write_json, write_line
from chatbot.store.archive_records import ArchivedConversation, ArchivedFeedback, ArchivedMessage, ArchivedReview

_SHAREGPT = {"user": "human", "assistant": "gpt"}


@dataclass(frozen=True, slots=True)
class Writer:
    """One form of export."""

    name: str
    suffix: str
    """How a file of it usually ends."""
    title: str
    write: Callable[[Iterable[ArchivedConversation]], Iterator[str]]
    """Pieces of the text, each of them valid UTF-8."""


def find_writer(name: str) -> Writer:
    """Raises NotFound that names those there are."""
    for writer in list_writers():
        if writer.name == name:
            return writer
    names = ", ".join(writer.name for writer in list_writers())
    raise NotFound(f"There is no export format '{name}'.", hint=f"There are: {names}.")


def list_writers() -> Sequence[Writer]:
    """Every form of export."""
    return (
        Writer("json", ".json", "our own JSON: everything, for importing again", write_json),
        Writer("markdown", ".md", "Markdown, for reading", write_markdown),
        Writer("openai", ".jsonl", "JSONL of OpenAI messages", write_openai),
        Writer("sharegpt", ".json", "ShareGPT", write_sharegpt),
        Writer("pairs", ".jsonl", "JSONL of preference pairs: prompt, chosen, rejected", write_pairs),
    )


def write_openai(conversations: Iterable[ArchivedConversation]) -> Iterator[str]:
    """{"messages": [{"role": …, "content": …}, …]} on one line for each conversation that says something."""
    for conversation in conversations:
        if branch := find_branch(conversation):
            yield write_line({"messages": _list_messages(conversation, branch)}) + "\n"


def write_sharegpt(conversations: Iterable[ArchivedConversation]) -> Iterator[str]:
    """A list of {"id": …, "conversations": [{"from": …, "value": …}, …]}."""
    yield "["
    separator = "\n"
    for conversation in conversations:
        if branch := find_branch(conversation):
            turns = [
                {"from": _SHAREGPT.get(message.role, message.role), "value": message.content} for message in branch
            ]
            if conversation.system_prompt:
                turns.insert(0, {"from": "system", "value": conversation.system_prompt})
            yield separator + write_line({"id": conversation.id or conversation.key, "conversations": turns})
            separator = ",\n"
    yield "\n]\n"


def write_pairs(conversations: Iterable[ArchivedConversation]) -> Iterator[str]:
    """{"prompt": [messages], "chosen": [message], "rejected": [message]} on one line for each two replies of which the
    newest word is that one is better.

    Only replies to the same message are compared, and only those that are not hidden and say something. One that a
    reviewer rejected is nobody's choice.
    """
    for conversation in conversations:
        for better, worse in _find_preferences(conversation):
            if worse.parent != better.parent or not (_is_reply(better) and _is_reply(worse)) or _is_rejected(better):
                continue
            pair = {
                "prompt": _list_messages(conversation, find_words_to(conversation, better.parent)),
                "chosen": [{"role": "assistant", "content": better.content}],
                "rejected": [{"role": "assistant", "content": worse.content}],
            }
            yield write_line(pair) + "\n"


def _find_preferences(conversation: ArchivedConversation) -> Iterator[tuple[ArchivedMessage, ArchivedMessage]]:
    """The better and the worse of each two messages that were compared, as it was said last."""
    known = {message.key: message for message in conversation.messages}
    said = [
        (judgement, better, known[judgement.preferred_over])
        for better in conversation.messages
        for judgement in better.feedback
        if judgement.preferred_over is not None and judgement.preferred_over in known
    ]
    said.sort(key=lambda one: _age(one[0]))
    yield from {frozenset((better.key, worse.key)): (better, worse) for _, better, worse in said}.values()


def _age(judgement: ArchivedFeedback | ArchivedReview) -> tuple[datetime, str]:
    """Sorts the oldest first, as the store does."""
    return judgement.created or datetime.min.replace(tzinfo=UTC), judgement.id


def _is_rejected(message: ArchivedMessage) -> bool:
    return bool(message.reviews) and max(message.reviews, key=_age).decision == "reject"


def _is_reply(message: ArchivedMessage) -> bool:
    return message.role == "assistant" and not message.hidden and bool(message.content.strip())


def _list_messages(conversation: ArchivedConversation, branch: Sequence[ArchivedMessage]) -> list[dict[str, str]]:
    messages = [{"role": message.role, "content": message.content} for message in branch]
    if conversation.system_prompt:
        messages.insert(0, {"role": "system", "content": conversation.system_prompt})
    return messages
