"""The log as a command opens it, and what the identifiers on its command line mean.

An identifier is a conversation's or a message's, shortened at will, as git takes a commit's; those in the bin are
looked at, too. What begins the id of a conversation and of messages in it means the conversation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chatbot.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from chatbot.config import Home, Settings
    from chatbot.store.database import Store
    from chatbot.store.records import Conversation, Message

_HINT = "`chatbot logs list` shows the conversations, `chatbot logs show ID` the messages of one."
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Log:
    """The store with the settings that it was opened by."""

    store: Store
    settings: Settings
    home: Home

    @property
    def author(self) -> str:
        """Who signs judgements."""
        return self.settings.review.signature

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction, for the few questions that `store` does not answer."""
        from chatbot.store.sessions import Database

        with closing(Database(self.home.database_url(self.settings))) as database, database.read() as connection:
            yield connection


@contextmanager
def open_log() -> Iterator[Log]:
    """The database of the settings, brought to the newest schema. Raises ConfigError, StoreError."""
    from chatbot.config import find_home, load_settings
    from chatbot.store.migrations import open_upgraded

    home = find_home()
    settings = load_settings(home)
    with open_upgraded(home.database_url(settings)) as store:
        store.replies.mark_interrupted()  # a reply whose process died is judged, and forgotten, like one that ended
        yield Log(store, settings, home)


def find_conversation(store: Store, prefix: str, *, deleted: bool | None = None) -> Conversation:
    """The conversation whose id begins with `prefix`; `deleted` None looks in the bin too. Raises NotFound,
    InvalidInput if there are several."""
    found = []
    for place in (False, True) if deleted is None else (deleted,):
        try:
            found.append(store.conversations.find(prefix, deleted=place))
        except NotFound:
            continue
    if len(found) > 1:
        names = ", ".join(one.id + (" (in the bin)" if one.deleted else "") for one in found)
        raise InvalidInput(f"{prefix!r} begins the ids of several conversations: {names}.", hint="Give more.")
    if not found:
        raise NotFound(f"There is no conversation {prefix!r}{' in the bin' if deleted else ''}.", hint=_HINT)
    return found[0]


def find_conversations(store: Store, prefixes: Sequence[str], *, deleted: bool | None = None) -> list[Conversation]:
    """Each of them once, before anything is done to one. Raises NotFound, InvalidInput; a message's id is told."""
    found: dict[str, Conversation] = {}
    for prefix in prefixes:
        try:
            one = find_conversation(store, prefix, deleted=deleted)
        except NotFound:
            message = _find_message(store, prefix)
            if message is None:
                raise
            raise InvalidInput(
                f"{prefix!r} is a message; this takes whole conversations.",
                hint=f"Its conversation is {message.conversation_id}.",
            ) from None
        found[one.id] = one
    return list(found.values())


def find_either(store: Store, prefix: str) -> Conversation | Message:
    """What the id is of: a conversation, if it is also of messages in that one. Raises NotFound, InvalidInput if it is
    of several."""
    try:
        conversation = find_conversation(store, prefix)
    except NotFound:
        if (message := _find_message(store, prefix)) is not None:
            return message
        raise NotFound(f"There is no conversation or message {prefix!r}.", hint=_HINT) from None
    try:
        others = f"the message {store.messages.find(prefix, outside=conversation.id).id} of another"
    except NotFound:
        return conversation
    except InvalidInput:
        others = "several messages of others"
    raise InvalidInput(
        f"{prefix!r} begins the ids of the conversation {conversation.id} and of {others}.", hint="Give more."
    )


def find_reply(store: Store, prefix: str) -> Message:
    """The reply of this id; for a conversation's, the one at the end of its branch on screen. Raises NotFound,
    InvalidInput for a prompt."""
    from chatbot.store.records import Conversation

    found = find_either(store, prefix)
    if isinstance(found, Conversation):
        last = store.messages.transcript(found.id, limit=1)
        if not last:
            raise InvalidInput("This conversation is empty.", hint="Give the id of a reply.")
        if last[0].role != "assistant":
            raise InvalidInput("This conversation ends with a prompt.", hint=_name_replies(store, last[0]))
        return last[0]
    if found.role != "assistant":
        raise InvalidInput(f"{prefix!r} is a prompt; only a reply can be judged.", hint=_name_replies(store, found))
    return found


def find_replies(store: Store, prefixes: Sequence[str]) -> list[Message]:
    """Each reply once. Raises NotFound, InvalidInput."""
    return list({reply.id: reply for reply in (find_reply(store, prefix) for prefix in prefixes)}.values())


def _find_message(store: Store, prefix: str) -> Message | None:
    try:
        return store.messages.find(prefix)
    except NotFound:
        return None


def _name_replies(store: Store, prompt: Message) -> str:
    """Where the replies to a prompt are."""
    replies = [one.id for one in store.logs.tree(prompt.conversation_id) if one.parent_id == prompt.id]
    if not replies:
        return f"`chatbot logs show {prompt.conversation_id}` tells the replies' ids."
    more = f" and {len(replies) - _SHOWN} more" if len(replies) > _SHOWN else ""
    return f"The replies to it: {', '.join(replies[-_SHOWN:])}{more}."
