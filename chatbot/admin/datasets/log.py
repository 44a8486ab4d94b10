"""Conversations of the log as talks: what a person decided says which replies teach.

There is one rule for what may be learnt, `training_use.decide_use`; here it is known besides which replies another one
was preferred to, and those are not learnt either. What is learnt away from (a reply rated down or rejected, the worse
of two) needs no approval, which nobody would give.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime

from chatbot.admin.datasets.talks import Said, Talk
from chatbot.errors import NotFound
from chatbot.logs.training_use import RATED_DOWN, TrainingUse, decide_use
from chatbot.store.archive_records import ArchivedConversation, ArchivedFeedback
from chatbot.store.database import Store
from chatbot.store.filters import DECISIONS, LogFilter
from chatbot.store.records import Message

SOURCE = "chat"
OUTDONE = "approved but another reply was preferred"
_RATINGS = {"up": 1, "down": -1, "none": 0}


def read_log(store: Store, asked: LogFilter, *, unreviewed: bool = False) -> Iterator[Talk]:
    """The conversations of a filter, oldest first; what it asks of replies limits which are learnt. With `unreviewed`
    a thumb up or a preference is enough for labels and pairs where no reviewer has decided."""
    for conversation_id in store.logs.each_id(asked):
        try:
            archived = store.archive.read(conversation_id)
            states = {one.id: one for one in store.logs.tree(conversation_id)}
        except NotFound:  # forgotten meanwhile
            continue
        yield _read_talk(archived, states, asked, unreviewed)


def list_pairs(conversation: ArchivedConversation) -> tuple[tuple[str, str], ...]:
    """The better and the worse of each two messages that were compared, as it was said last."""
    said = [
        (_age(word), message.key, word.preferred_over)
        for message in conversation.messages
        for word in message.feedback
        if word.preferred_over is not None
    ]
    return tuple({frozenset(pair): pair for _, *names in sorted(said) for pair in [(names[0], names[1])]}.values())


def list_outdone(conversation: ArchivedConversation, pairs: Collection[tuple[str, str]]) -> dict[str, bool]:
    """The messages that another one was preferred to, and whether a person said so: to go on from another reply says it
    without a word, which is enough not to learn this one, but not to call it bad."""
    stated = {
        (message.key, word.preferred_over)
        for message in conversation.messages
        for word in message.feedback
        if not word.written_by.get("implied")
    }
    outdone: dict[str, bool] = {}
    for better, worse in pairs:
        outdone[worse] = outdone.get(worse, False) or (better, worse) in stated
    return outdone


def _read_talk(archived: ArchivedConversation, states: dict[str, Message], asked: LogFilter, unreviewed: bool) -> Talk:
    # A correction that was taken back is hidden, and better than nothing from then on.
    pairs = tuple(pair for pair in list_pairs(archived) if states.keys() >= set(pair))
    preferred, outdone = {better for better, _ in pairs}, list_outdone(archived, pairs)
    parents = {one.key: one.parent for one in archived.messages}
    said = []
    for message in archived.messages:
        state = states.get(message.key)
        if state is None:  # hidden, or written since
            continue
        parent = message.parent
        while parent is not None and parent not in states:
            parent = parents.get(parent)
        use = decide_use(state, in_bin=asked.deleted)
        liked = unreviewed and not state.decision and state.rating >= 0 and _may_be_read(state, asked)
        good, reason = _judge(state, use, asked, unreviewed)
        leads = use.trains or (liked and message.key in preferred)
        contradiction = use.reason if use.reason == RATED_DOWN else ""
        if use.trains and message.key in outdone:
            contradiction = reason = OUTDONE
            good = False if outdone[message.key] else None
        said.append(
            Said(
                key=message.key,
                parent=parent,
                role=message.role,
                content=message.content,
                teaches=leads and message.key not in outdone,
                leads=leads,
                good=good,
                reason=reason if use.trains else use.reason,
                asked=_is_asked(state, message.feedback, asked),
                contradiction=contradiction,
            )
        )
    return Talk(SOURCE, archived.system_prompt, tuple(said), pairs, archived.id)


def _judge(state: Message, use: TrainingUse, asked: LogFilter, unreviewed: bool) -> tuple[bool | None, str]:
    """Whether a reply was liked, and what is to be said if nobody did."""
    if use.trains:
        return True, ""
    if not _may_be_read(state, asked) or state.decision == "redact":
        return None, use.reason
    if state.decision == "reject" or state.rating < 0:
        return False, ""
    if state.rating > 0 and unreviewed:
        return True, ""
    return None, use.reason


def _may_be_read(state: Message, asked: LogFilter) -> bool:
    return (
        not asked.deleted and state.role == "assistant" and state.status != "streaming" and bool(state.content.strip())
    )


def _is_asked(state: Message, feedback: Sequence[ArchivedFeedback], asked: LogFilter) -> bool:
    """Whether the filter means this reply, and not only its conversation."""
    if asked.model and state.model != asked.model:
        return False
    if asked.rating and state.rating != _RATINGS[asked.rating]:
        return False
    if asked.status and state.status != asked.status:
        return False
    if asked.state and state.decision != DECISIONS.get(asked.state, ""):
        return False
    if asked.tag:
        words = sorted((word for word in feedback if word.tags is not None), key=_age)
        return bool(words) and asked.tag in (words[-1].tags or ())
    return True


def _age(word: ArchivedFeedback) -> tuple[datetime, str]:
    return word.created or datetime.min.replace(tzinfo=UTC), word.id
