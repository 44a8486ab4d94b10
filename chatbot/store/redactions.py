"""Writing masked texts in the place of the originals.

The only change that overwrites what was said: that is its purpose. The pages that held the old text are overwritten in
the file, and its words leave the search index. A redacted reply goes back to the queue, because what was approved was
another text. Backups keep the old text; `list_backups` names them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import insert, select, update

from chatbot.errors import InvalidInput
from chatbot.store import reply_states, search_index
from chatbot.store.conversations import change_conversation, fold, get_conversation
from chatbot.store.identifiers import IdentifierSource
from chatbot.store.judgement_tables import FeedbackRow, ReviewRow
from chatbot.store.judgements import describe_writer
from chatbot.store.messages import get_message
from chatbot.store.sessions import Database, list_backups
from chatbot.store.tables import ConversationRow, MessageRow


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

    def comments(self, message_id: str) -> dict[str, str]:
        """What people wrote about a message, by the id of the judgement."""
        said, decided = FeedbackRow, ReviewRow
        feedback = select(said.id, said.comment).where(said.message_id == message_id, said.comment.is_not(None))
        reviews = select(decided.id, decided.note).where(decided.message_id == message_id)
        with self._database.read() as connection:
            found = [*connection.execute(feedback), *connection.execute(reviews)]
        return {row[0]: row[1] for row in found if row[1]}

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
        comments: Mapping[str, Replacement] | None = None,
    ) -> None:
        """Overwrites texts of one conversation, all or none. `note` says what was masked; it is kept as the reason.
        Raises InvalidInput if a text is no longer the one that was previewed."""
        with self._database.write() as connection:
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql("PRAGMA secure_delete = ON")
            for message_id, text in messages.items():
                message = get_message(connection, message_id)
                if message.content != text.old or message.status == "streaming":
                    raise InvalidInput("A message has changed since the preview.", hint="Look at it again.")
                search_index.remove(connection, message_id, text.old)
                connection.execute(update(MessageRow).where(MessageRow.id == message_id).values(content=text.new))
                search_index.add(connection, message_id, text.new)
            for table, column in ((FeedbackRow, "comment"), (ReviewRow, "note")):
                for judgement_id, text in (comments or {}).items():
                    connection.execute(update(table).where(table.id == judgement_id).values({column: text.new}))
            changes: dict[str, Any] = {"updated_at": datetime.now(UTC)}
            if title is not None and get_conversation(connection, conversation_id).title == title.old:
                changes |= {"title": title.new, "title_key": fold(title.new)}
            if system_prompt is not None:
                changes |= {"system_prompt": system_prompt.new}
            change_conversation(connection, conversation_id, **changes)
            for message_id in messages:
                if get_message(connection, message_id).role == "assistant":
                    values = {
                        "id": self._identifiers.next(),
                        "message_id": message_id,
                        "decision": "redact",
                        "note": note,
                        "author": author,
                        "written_by": describe_writer(connection, message_id),
                        "created_at": datetime.now(UTC),
                    }
                    connection.execute(insert(ReviewRow).values(values))
                    reply_states.refresh(connection, message_id)

    def compact(self) -> None:
        """Rewrites the search index, so that the masked words leave its pages too."""
        with self._database.write() as connection:
            search_index.compact(connection)

    def backups(self) -> list[Path]:
        """The backups, which still hold the old texts."""
        return list_backups(self._database.path) if self._database.path else []
