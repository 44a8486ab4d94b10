"""Writing masked texts in the place of the originals.

The only change that overwrites what was said: that is its purpose. The pages that held the old text are overwritten in
the file, and its words leave the search index. A redacted reply goes back to the queue, because what was approved was
another text; and so does an approved reply below masked words, because it trains with them. Backups keep the old text;
`list_backups` names them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Select, select, update

from chatbot.errors import InvalidInput, StoreError
from chatbot.store import reply_states, search_index
from chatbot.store.conversations import change_conversation, fold, get_conversation
from chatbot.store.erasure import scrub
from chatbot.store.identifiers import IdentifierSource
from chatbot.store.judgement_tables import FeedbackRow, ReplyStateRow, ReviewRow
from chatbot.store.messages import get_message
from chatbot.store.opinions import add_review
from chatbot.store.sessions import Database, list_backups
from chatbot.store.tables import ConversationRow, DraftRow, MessageRow


@dataclass(frozen=True, slots=True)
class Replacement:
    """A text and what takes its place."""

    old: str
    new: str


class Redactions:
    """Overwrites texts."""

    def __init__(self, database: Database, identifiers: IdentifierSource) -> None:
        self._database = database
        self._identifiers = identifiers

    def comments(self, conversation_id: str) -> dict[str, str]:
        """What people wrote about the messages of a conversation, by the id of the judgement."""
        said, decided = FeedbackRow, ReviewRow
        messages = _said_in(conversation_id)
        feedback = select(said.id, said.comment).where(said.message_id.in_(messages))
        reviews = select(decided.id, decided.note).where(decided.message_id.in_(messages))
        with self._database.read() as connection:
            found = [*connection.execute(feedback), *connection.execute(reviews)]
        return {row[0]: row[1] for row in found if row[1]}

    def tags(self, conversation_id: str) -> dict[str, list[str]]:
        """The tags of its messages, by the id of the feedback."""
        table = FeedbackRow
        query = select(table.id, table.tags).where(table.message_id.in_(_said_in(conversation_id)))
        with self._database.read() as connection:
            return {row.id: row.tags for row in connection.execute(query) if row.tags}

    def system_prompt(self, conversation_id: str) -> str:
        with self._database.read() as connection:
            query = select(ConversationRow.system_prompt).where(ConversationRow.id == conversation_id)
            return connection.scalar(query) or ""

    def apply(
        self,
        conversation_id: str,
        messages: Mapping[str, Replacement],
        *,
        author: str,
        note: str,
        title: Replacement | None = None,
        system_prompt: Replacement | None = None,
        draft: Replacement | None = None,
        comments: Mapping[str, Replacement] | None = None,
        tags: Mapping[str, Sequence[Replacement]] | None = None,
    ) -> None:
        """Overwrites texts of one conversation, all or none. `note` says what was masked; it is kept as the reason.
        Approved replies below what was masked go back to the queue too: they train with all that stands above them.
        Raises InvalidInput if a text is no longer the one that was previewed."""
        with self._database.write() as connection:
            for message_id, text in messages.items():
                message = get_message(connection, message_id)
                _check(message.content == text.old and message.status != "streaming", "A message")
                search_index.remove(connection, message_id, text.old)
                connection.execute(update(MessageRow).where(MessageRow.id == message_id).values(content=text.new))
                search_index.add(connection, message_id, text.new)
            for judgement_id, text in (comments or {}).items():
                _replace_comment(connection, judgement_id, text)
            for feedback_id, texts in (tags or {}).items():
                _replace_tags(connection, feedback_id, texts)
            if draft is not None:
                place = (DraftRow.conversation_key == conversation_id) & (DraftRow.content == draft.old)
                changed = connection.execute(update(DraftRow).where(place).values(content=draft.new))
                _check(changed.rowcount == 1, "The draft")
            changes: dict[str, Any] = {"updated_at": datetime.now(UTC)}
            row = _get_row(connection, conversation_id)
            if title is not None:
                _check(row.title == title.old, "The title")
                changes |= {"title": title.new, "title_key": fold(title.new)}
            if system_prompt is not None:
                _check(row.system_prompt == system_prompt.old, "The system prompt")
                changes |= {"system_prompt": system_prompt.new}
            change_conversation(connection, conversation_id, **changes)
            for message_id in _list_stale(connection, conversation_id, messages, whole=system_prompt is not None):
                add_review(connection, self._identifiers, message_id, "redact", note, author)
                reply_states.refresh(connection, message_id)

    def compact(self) -> None:
        """Rewrites the search index and the file, so that the masked texts leave their pages too, also copies that were
        freed before. Raises StoreError."""
        try:
            scrub(self._database)
        except StoreError as error:
            error.hint = f"{error.hint} `chatbot db scrub` does the rest.".lstrip()
            raise

    def backups(self) -> list[Path]:
        """The backups, which still hold the old texts."""
        return list_backups(self._database.path) if self._database.path else []


def _said_in(conversation_id: str) -> Select[str]:
    return select(MessageRow.id).where(MessageRow.conversation_id == conversation_id)


def _check(unchanged: bool, what: str) -> None:
    if not unchanged:
        raise InvalidInput(f"{what} has changed since the preview.", hint="Look at it again.")


def _get_row(connection: Connection, conversation_id: str) -> Any:
    get_conversation(connection, conversation_id)  # raises NotFound
    table = ConversationRow
    return connection.execute(select(table.title, table.system_prompt).where(table.id == conversation_id)).one()


def _replace_comment(connection: Connection, judgement_id: str, text: Replacement) -> None:
    changed = 0
    for table, column in ((FeedbackRow, FeedbackRow.comment), (ReviewRow, ReviewRow.note)):
        place = (table.id == judgement_id) & (column == text.old)
        changed += connection.execute(update(table).where(place).values({column: text.new})).rowcount
    _check(changed == 1, "A comment")


def _replace_tags(connection: Connection, feedback_id: str, texts: Sequence[Replacement]) -> None:
    new = {text.old: text.new for text in texts}
    place = FeedbackRow.id == feedback_id
    tags = connection.scalar(select(FeedbackRow.tags).where(place)) or []
    _check(set(new) <= set(tags), "A tag")
    masked = list(dict.fromkeys(new.get(tag, tag) for tag in tags))
    connection.execute(update(FeedbackRow).where(place).values(tags=masked))


def _list_stale(connection: Connection, conversation_id: str, changed: Collection[str], *, whole: bool) -> list[str]:
    """The replies that were masked, and the approved ones below a masked message or, with `whole`, anywhere."""
    table, state = MessageRow, ReplyStateRow
    query = (
        select(table.id, table.parent_id, table.role, state.decision)
        .outerjoin(state, state.message_id == table.id)
        .where(table.conversation_id == conversation_id)
    )
    rows = {row.id: row for row in connection.execute(query)}
    children: dict[str | None, list[str]] = {}
    for row in rows.values():
        children.setdefault(row.parent_id, []).append(row.id)
    waiting = list(rows) if whole else list(changed)
    below: set[str] = set()
    while waiting:
        below.update(waiting)
        waiting = [child for one in waiting for child in children.get(one, ()) if child not in below]
    return [
        one
        for one in rows
        if rows[one].role == "assistant" and (one in changed or (one in below and rows[one].decision == "approve"))
    ]
