"""Writing a turn: the user's message, then a reply that grows until it is finished.

Each call is one transaction, on the disk when it returns. Only the process that began a reply writes it: every later
change names the writer, so a row that another start has marked `interrupted` is not touched by a writer that came back
from the dead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, insert, select, update

from chatbot.errors import InvalidInput
from chatbot.store import reply_states, search_index
from chatbot.store.conversations import Conversations, change_conversation, get_conversation
from chatbot.store.identifiers import IdentifierSource
from chatbot.store.messages import get_message, number_siblings
from chatbot.store.presence import Presence
from chatbot.store.records import Message, Status
from chatbot.store.sessions import Database
from chatbot.store.tables import MessageRow

_RESUMABLE = ("complete", "stopped", "failed", "interrupted")


@dataclass(frozen=True, slots=True)
class NewConversation:
    """What a conversation begins with."""

    title: str
    persona: str
    system_prompt: str
    sampling: Mapping[str, Any] = field(default_factory=dict)


class Replies:
    """Adds messages to trees and writes replies."""

    def __init__(
        self, database: Database, identifiers: IdentifierSource, conversations: Conversations, presence: Presence
    ) -> None:
        self._database = database
        self._identifiers = identifiers
        self._conversations = conversations
        self._presence = presence
        self._active: set[str] = set()  # replies that this store writes at this moment

    def new_id(self) -> str:
        """An identifier for a row to be: whoever must clean up after a cancelled call knows it beforehand."""
        return self._identifiers.next()

    def add_prompt(self, conversation: str | NewConversation, content: str) -> Message:
        """The user's message below the tip of the branch on screen; begins the conversation if it is new."""
        with self._database.write() as connection:
            if isinstance(conversation, NewConversation):
                conversation_id = self._conversations.add(
                    connection,
                    title=conversation.title,
                    persona=conversation.persona,
                    system_prompt=conversation.system_prompt,
                    sampling=conversation.sampling,
                )
                parent = None
            else:
                conversation_id = conversation
                parent = get_conversation(connection, conversation_id).tip
            return self._add_user(connection, conversation_id, parent, content)

    def add_edited(self, message_id: str, content: str) -> Message:
        """A sibling of the user's message, with another text; what followed the old one stays below the old one."""
        with self._database.write() as connection:
            message = get_message(connection, message_id)
            if message.role != "user":
                raise InvalidInput("Only what you said can be edited.", hint="A reply can be regenerated.")
            return self._add_user(connection, message.conversation_id, message.parent_id, content)

    def start(
        self,
        reply_id: str,
        parent_id: str,
        model_version_id: str,
        template_sha: str,
        generation: Mapping[str, Any],
        content: str = "",
    ) -> Message:
        """A reply below `parent_id`, status `streaming`; the tip moves to it. `content` is what it is to begin with."""
        with self._database.write() as connection:
            parent = get_message(connection, parent_id)
            self._insert(
                connection,
                id=reply_id,
                conversation_id=parent.conversation_id,
                parent_id=parent_id,
                role="assistant",
                status="streaming",
                writer=self._presence.name(),
                model_version_id=model_version_id,
                template_sha=template_sha,
                generation=dict(generation),
                content=content,
            )
            self._active.add(reply_id)
            return get_message(connection, reply_id)

    def resume(
        self, reply: Message, model_version_id: str, template_sha: str, generation: Mapping[str, Any]
    ) -> Message:
        """Sets a reply that has ended back to `streaming`, to be written on by this process. Raises InvalidInput if it
        is being written already, or is no longer as `reply` says."""
        with self._database.write() as connection:
            changed = connection.execute(
                update(MessageRow)
                .where(
                    MessageRow.id == reply.id,
                    MessageRow.status.in_(_RESUMABLE),
                    MessageRow.content == reply.content,
                )
                .values(
                    status="streaming",
                    finish_reason="",
                    writer=self._presence.name(),
                    model_version_id=model_version_id,
                    template_sha=template_sha,
                    generation=dict(generation),
                )
            )
            if not changed.rowcount:
                raise InvalidInput("This reply is being written elsewhere.", hint="Wait for its end, or stop it.")
            self._active.add(reply.id)
            search_index.remove(connection, reply.id, reply.content)
            reply_states.refresh(connection, reply.id)
            return get_message(connection, reply.id)

    def grow(self, reply_id: str, content: str) -> None:
        """Keeps what has come so far."""
        with self._database.write() as connection:
            connection.execute(self._mine(reply_id).values(content=content))

    def finish(
        self, reply_id: str, content: str, status: Status, finish_reason: str, generation: Mapping[str, Any]
    ) -> Message:
        """The reply as it stays. Does nothing to a row that this process does not write (any more)."""
        try:
            with self._database.write() as connection:
                changed = connection.execute(
                    self._mine(reply_id).values(
                        content=content,
                        status=status,
                        finish_reason=finish_reason,
                        writer="",
                        generation=dict(generation),
                    )
                )
                if changed.rowcount:
                    search_index.add(connection, reply_id, content)
                    reply_states.refresh(connection, reply_id)
                message = get_message(connection, reply_id)
                if changed.rowcount:
                    change_conversation(connection, message.conversation_id, updated_at=datetime.now(UTC))
                return message
        finally:
            self._active.discard(reply_id)  # even if the row cannot be written: nobody will write it later

    def exists(self, message_id: str) -> bool:
        with self._database.read() as connection:
            return connection.scalar(select(MessageRow.id).where(MessageRow.id == message_id)) is not None

    def mark_interrupted(self) -> int:
        """Marks the replies that nobody writes any more, because their process died or could not finish them for want
        of space; returns how many. Those of the living are left alone."""
        streaming = MessageRow.status == "streaming"
        with self._database.read() as connection:
            rows = connection.execute(select(MessageRow.id, MessageRow.writer).where(streaming)).all()
        alive = {writer: self._presence.lives(writer) for writer in {row.writer for row in rows}}
        own = self._presence.name() if rows else ""
        dead = [row.id for row in rows if not alive[row.writer] or (row.writer == own and row.id not in self._active)]
        judged = {row.writer for row in rows if row.id in dead}
        if not dead:
            return 0
        with self._database.write() as connection:
            # By the writer that was judged too: meanwhile another chat may have taken the reply up again.
            chosen = (streaming, MessageRow.id.in_(dead), MessageRow.writer.in_(judged))
            marked = connection.execute(select(MessageRow.id, MessageRow.content).where(*chosen)).all()
            connection.execute(update(MessageRow).where(*chosen).values(status="interrupted", writer=""))
            for row in marked:
                search_index.add(connection, row.id, row.content)
                reply_states.refresh(connection, row.id)
            return len(marked)

    def _mine(self, reply_id: str) -> Any:
        return update(MessageRow).where(
            MessageRow.id == reply_id, MessageRow.status == "streaming", MessageRow.writer == self._presence.name()
        )

    def _add_user(self, connection: Connection, conversation_id: str, parent: str | None, content: str) -> Message:
        message_id = self._identifiers.next()
        created = self._insert(
            connection,
            id=message_id,
            conversation_id=conversation_id,
            parent_id=parent,
            role="user",
            status="complete",
            writer="",
            model_version_id=None,
            template_sha="",
            generation={},
            content=content,
        )
        search_index.add(connection, message_id, content)
        # Another chat may have deleted the conversation a moment ago; what is said in it brings it back.
        change_conversation(connection, conversation_id, deleted=False)
        message = Message(message_id, conversation_id, parent, "user", content, "complete", created)
        return number_siblings(connection, conversation_id, [message])[0]

    def _insert(self, connection: Connection, **values: Any) -> datetime:
        """Adds the row and moves the tip to it; returns the time that both bear."""
        now = datetime.now(UTC)
        connection.execute(insert(MessageRow).values(hidden=False, finish_reason="", created_at=now, **values))
        change_conversation(connection, values["conversation_id"], tip_id=values["id"], updated_at=now)
        return now
