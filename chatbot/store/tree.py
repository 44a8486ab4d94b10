"""Changes to what is seen of a tree: which branch is on screen, which messages are hidden.

No row is deleted and no parent is changed, so each of these can be undone. The tip may be a hidden message: a branch
whose last turn was deleted still ends there, which is why restoring that turn puts it back in its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import Connection, func, select, update

from chatbot.errors import InvalidInput, NotFound
from chatbot.store import reply_states
from chatbot.store.conversations import change_conversation, get_conversation
from chatbot.store.messages import get_message, is_on_branch, list_siblings, newest_below
from chatbot.store.records import Conversation, Message
from chatbot.store.sessions import Database
from chatbot.store.tables import MessageRow


class Tree:
    """Chooses branches and hides messages."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def choose_sibling(self, message_id: str, step: int) -> Conversation:
        """Puts the alternative `step` places after (or before) this one on screen, with the newest of what follows it;
        stays where it is at either end. Raises NotFound."""
        with self._database.write() as connection:
            message = get_message(connection, message_id)
            siblings = list_siblings(connection, message.conversation_id, message.parent_id)
            if message_id in siblings:
                place = siblings.index(message_id)
                chosen = siblings[min(max(place + step, 0), len(siblings) - 1)]
                if chosen != message_id:
                    tip = newest_below(connection, message.conversation_id, chosen)
                    change_conversation(connection, message.conversation_id, tip_id=tip)
            return get_conversation(connection, message.conversation_id)

    def delete_turn(self, message_id: str) -> tuple[str, ...]:
        """Hides the turn that `message_id` belongs to: the user's message and all replies to it. What follows it on
        the branch stays. Returns the ids, for `restore_turn`. Raises NotFound, InvalidInput while a reply streams."""
        with self._database.write() as connection:
            message = get_message(connection, message_id)
            first = message_id
            if message.role == "assistant" and message.parent_id is not None:
                first = message.parent_id
            replies = select(MessageRow.id, MessageRow.status).where(
                MessageRow.conversation_id == message.conversation_id,
                MessageRow.parent_id == first,
                MessageRow.role == "assistant",
                MessageRow.hidden.is_(False),
            )
            rows = connection.execute(replies.order_by(MessageRow.id)).all()
            if any(row.status == "streaming" for row in rows):
                raise _streaming()
            hidden = connection.scalar(select(MessageRow.hidden).where(MessageRow.id == first))
            ids = (*(() if hidden else (first,)), *(row.id for row in rows))
            _set_hidden(connection, ids, hidden=True)
            _touch(connection, message.conversation_id)
            return ids

    def restore_turn(self, message_ids: Sequence[str]) -> None:
        """Shows hidden messages again; if they stand on another branch than the one on screen, goes there."""
        if not message_ids:
            return
        with self._database.write() as connection:
            messages = [get_message(connection, message_id) for message_id in message_ids]
            _set_hidden(connection, message_ids, hidden=False)
            last = messages[-1]
            tip = get_conversation(connection, last.conversation_id).tip
            if not any(is_on_branch(connection, message.id, tip) for message in messages):
                tip = newest_below(connection, last.conversation_id, last.id)
                change_conversation(connection, last.conversation_id, tip_id=tip)
            _touch(connection, last.conversation_id)

    def drop(self, message_id: str) -> None:
        """Hides one reply at the end of a branch. On screen comes an earlier reply to the same message, else that
        message itself. Raises NotFound, InvalidInput if the reply streams or something follows it."""
        with self._database.write() as connection:
            drop_reply(connection, message_id)


def drop_reply(connection: Connection, message_id: str) -> None:
    """`Tree.drop` within a transaction."""
    message = get_message(connection, message_id)
    _check_droppable(connection, message)
    conversation = get_conversation(connection, message.conversation_id)
    _set_hidden(connection, [message_id], hidden=True)
    if is_on_branch(connection, message_id, conversation.tip):
        others = select(func.max(MessageRow.id)).where(
            MessageRow.conversation_id == message.conversation_id,
            MessageRow.parent_id == message.parent_id,
            MessageRow.role == "assistant",
            MessageRow.hidden.is_(False),
        )
        other = connection.scalar(others)
        tip = newest_below(connection, message.conversation_id, other) if other else message.parent_id
        change_conversation(connection, message.conversation_id, tip_id=tip)
    _touch(connection, message.conversation_id)


def _check_droppable(connection: Connection, message: Message) -> None:
    if message.role != "assistant":
        raise InvalidInput("Only a reply can be dropped.", hint="Delete the turn instead.")
    if message.status == "streaming":
        raise _streaming()
    if newest_below(connection, message.conversation_id, message.id) not in {message.id, None}:
        raise InvalidInput("Messages follow this reply.", hint="Delete the turn instead; what follows it stays.")


def _set_hidden(connection: Connection, message_ids: Sequence[str], *, hidden: bool) -> None:
    changed = connection.execute(update(MessageRow).where(MessageRow.id.in_(message_ids)).values(hidden=hidden))
    if changed.rowcount != len(message_ids):
        raise NotFound("Some of these messages are gone.")
    for message_id in message_ids:
        reply_states.refresh(connection, message_id)


def _touch(connection: Connection, conversation_id: str) -> None:
    change_conversation(connection, conversation_id, updated_at=datetime.now(UTC))


def _streaming() -> InvalidInput:
    return InvalidInput("This reply is still being written.", hint="Stop it first.")
