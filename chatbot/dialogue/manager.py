"""The dialogue: everything that happens in a conversation, for whoever shows it.

The screen, `chatbot ask` and tests all drive this one object. Reading and changing are plain calls, quick, to be made
off an event loop. A turn is an asynchronous generator of events; closing it, or cancelling the task that reads it,
stops the reply and keeps what was said.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Sequence
from contextlib import aclosing

from chatbot.config import Home, Settings
from chatbot.dialogue.answering import Answering
from chatbot.dialogue.events import TurnEvent
from chatbot.dialogue.personas import Persona, Personas
from chatbot.dialogue.planning import Planner
from chatbot.dialogue.scoring import Scorer, Scores
from chatbot.dialogue.turn import Reply, ReplyPlan
from chatbot.engine.protocol import Engine, Health, Sampling, TokenLogprob
from chatbot.errors import InvalidInput, NotFound
from chatbot.store.database import Store
from chatbot.store.records import Conversation, Message
from chatbot.store.threads import run_in_thread
from chatbot.text import storable

__all__ = ["Health", "Manager", "Persona", "Sampling", "Scores", "TokenLogprob"]

_TITLE_LIMIT = 200


class Manager:
    """One program's way into its conversations. Raises only errors of `chatbot.errors`."""

    def __init__(self, store: Store, engine: Engine, *, settings: Settings, home: Home, model: str = "") -> None:
        """`model` answers every turn that names no other, whatever is promoted."""
        self._store = store
        self._engine = engine
        self._settings = settings
        self._personas = Personas(home.personas)
        self._answering = Answering(store, engine, settings, home, model)
        self._planner = Planner(store, self._answering, self._personas, settings)
        self._scorer = Scorer(store, engine, self._answering, self._planner)
        store.replies.mark_interrupted()

    @property
    def store(self) -> Store:
        """What was said and judged, for those who review it."""
        return self._store

    # Reading

    def conversations(
        self, *, text: str = "", archived: bool = False, limit: int = 200, offset: int = 0
    ) -> list[Conversation]:
        """Pinned ones first, then the newest; `text` must stand in the title."""
        return self._store.conversations.list(text=text, archived=archived, limit=limit, offset=offset)

    def find_conversation(self, prefix: str) -> Conversation:
        """By its id, which may be shortened. Raises NotFound, InvalidInput if several begin so."""
        return self._store.conversations.find(prefix)

    def latest_conversation(self) -> Conversation | None:
        return self._store.conversations.latest()

    def transcript(self, conversation_id: str, *, before: str | None = None, limit: int = 40) -> list[Message]:
        """The last `limit` messages on screen above message `before` (None: the end), oldest first."""
        return self._store.messages.transcript(conversation_id, before=before, limit=limit)

    def interrupted(self, conversation_id: str) -> Message | None:
        """The last reply, if the process that wrote it died: to be continued, regenerated or dropped."""
        self._store.replies.mark_interrupted()
        return self._store.messages.last_unfinished(conversation_id)

    def prompt_history(self, limit: int = 200) -> list[str]:
        """What the user said last in all conversations, newest first."""
        return self._store.messages.prompts(limit)

    def draft(self, conversation_id: str | None) -> str:
        """What stands unsent at a conversation's prompt; None is the one that has not begun."""
        return self._store.conversations.draft(conversation_id)

    def personas(self) -> list[Persona]:
        return list(self._personas.list())

    def persona(self, name: str) -> Persona:
        """Raises NotFound."""
        return self._personas.find(name)

    # Changing

    def save_draft(self, conversation_id: str | None, text: str) -> None:
        self._store.conversations.save_draft(conversation_id, storable(text))

    def rename(self, conversation_id: str, title: str) -> Conversation:
        """Raises InvalidInput for a title that shows nothing."""
        line = " ".join(storable(title).split())[:_TITLE_LIMIT]
        if not line:
            raise InvalidInput("A title cannot be empty.")
        return self._store.conversations.change(conversation_id, title=line)

    def pin(self, conversation_id: str, pinned: bool) -> Conversation:
        return self._store.conversations.change(conversation_id, pinned=pinned)

    def archive(self, conversation_id: str, archived: bool) -> Conversation:
        return self._store.conversations.change(conversation_id, archived=archived)

    def delete(self, conversation_id: str) -> Conversation:
        """Hides it everywhere, until `undelete`."""
        return self._store.conversations.change(conversation_id, deleted=True)

    def undelete(self, conversation_id: str) -> Conversation:
        return self._store.conversations.change(conversation_id, deleted=False)

    def set_persona(self, conversation_id: str, name: str) -> Conversation:
        """From the next turn on. Raises NotFound."""
        return self._planner.set_persona(conversation_id, name)

    def delete_turn(self, message_id: str) -> tuple[str, ...]:
        """Hides the user's message and all replies to it; returns their ids for `restore_turn`."""
        return self._store.tree.delete_turn(message_id)

    def restore_turn(self, message_ids: Sequence[str]) -> None:
        self._store.tree.restore_turn(message_ids)

    def choose_sibling(self, message_id: str, step: int) -> Conversation:
        """Puts the alternative `step` places further on screen."""
        return self._store.tree.choose_sibling(message_id, step)

    def drop(self, message_id: str) -> None:
        """Hides a reply at the end of a branch."""
        self._store.tree.drop(message_id)

    # Turns

    async def reply(
        self,
        conversation_id: str | None,
        text: str,
        *,
        persona: str | None = None,
        sampling: Sampling | None = None,
        model: str | None = None,
    ) -> AsyncGenerator[TurnEvent, None]:
        """Says `text` at the end of a conversation (None begins one) and streams the answer.

        The text is in the database before anything else is looked at; if no answer comes, it stands there unanswered,
        and `regenerate` of it asks again. Raises InvalidInput, NotFound, PromptTooLong, ModelError, EngineError.
        """
        _check_prompt(text)
        user = await run_in_thread(self._planner.say, conversation_id, storable(text), persona)
        async with aclosing(self._answer(self._planner.plan(user, user, sampling, model))) as events:
            async for event in events:
                yield event

    async def regenerate(
        self, message_id: str, *, sampling: Sampling | None = None, model: str | None = None
    ) -> AsyncGenerator[TurnEvent, None]:
        """Another reply beside this one, with another seed; or one to a user's message."""
        message = await run_in_thread(self._find_answered, message_id)
        plan = self._planner.plan(message, None, sampling, model, fresh=True)
        async with aclosing(self._answer(plan)) as events:
            async for event in events:
                yield event

    async def edit(
        self, message_id: str, text: str, *, sampling: Sampling | None = None, model: str | None = None
    ) -> AsyncGenerator[TurnEvent, None]:
        """Says `text` in place of the user's message, on a branch beside it, and streams the answer."""
        _check_prompt(text)
        user = await run_in_thread(self._store.replies.add_edited, message_id, storable(text))
        async with aclosing(self._answer(self._planner.plan(user, user, sampling, model))) as events:
            async for event in events:
                yield event

    async def continue_reply(
        self, message_id: str, *, sampling: Sampling | None = None, model: str | None = None
    ) -> AsyncGenerator[TurnEvent, None]:
        """Writes on at the end of a reply that was interrupted, stopped or cut off, in the same message."""
        await run_in_thread(self._store.replies.mark_interrupted)
        message = await run_in_thread(self._store.messages.get, message_id)
        if message.role != "assistant":
            raise InvalidInput("Only a reply can be continued.")
        async with aclosing(self._answer(self._planner.plan(message, None, sampling, model))) as events:
            async for event in events:
                yield event

    async def branch_reply(
        self, message_id: str, beginning: str, *, sampling: Sampling | None = None, model: str | None = None
    ) -> AsyncGenerator[TurnEvent, None]:
        """Another reply beside this one that begins with `beginning`, words of the reader's choice such as the first of
        this one and another token in the place of the next, and is written on from there. Its `generation` says so:
        `branched_from` is this message and `from_character` where the model's own words begin. Without a `beginning`
        it is `regenerate`."""
        message = await run_in_thread(self._store.messages.get, message_id)
        if message.role != "assistant":
            raise InvalidInput("Only a reply can be begun in another way.")
        answered = await run_in_thread(self._find_answered, message_id)
        plan = self._planner.plan(
            answered, None, sampling, model, fresh=True, beginning=storable(beginning), branched_from=message_id
        )
        async with aclosing(self._answer(plan)) as events:
            async for event in events:
                yield event

    async def score(self, message_id: str, *, top: int = 5) -> Scores:
        """How probable each token of a reply is to the model that wrote it, or else to the one that answers now, with
        the `top` most probable ones at its place. Raises NotFound, InvalidInput, ModelError, EngineError."""
        return await self._scorer.score(message_id, top)

    # The engine

    async def models(self, persona: str) -> list[str]:
        """The models that can answer, by name: first the one that does under this persona, then the others, the newest
        first. Raises ModelError, EngineError."""
        names = await self._answering.list()
        answers = await run_in_thread(self._choose_model, persona)
        return sorted(names, key=lambda name: name != answers) or [answers]  # some servers list nothing

    async def engine_health(self) -> Health:
        return await self._engine.health()

    async def warm(self) -> None:
        """Starts loading the model that answers next, and returns at once."""
        name = await run_in_thread(self._answering.choose, None, None)
        await self._engine.warm(name)

    async def close(self) -> None:
        """Closes the engine's connection and the store."""
        try:
            await self._engine.close()
        finally:
            await run_in_thread(self._store.close)

    def _choose_model(self, persona: str) -> str:
        try:
            of_persona = self._personas.find(persona).model
        except NotFound:  # its file is gone
            of_persona = ""
        return self._answering.choose(None, of_persona or None)

    def _find_answered(self, message_id: str) -> Message:
        """The message that a reply replies to; a user's message itself."""
        message = self._store.messages.get(message_id)
        if message.role == "assistant" and message.parent_id is not None:
            message = self._store.messages.get(message.parent_id)
        if message.role == "assistant":  # an import may begin with a reply, or have two in a row
            raise InvalidInput("There is no message that this replies to.")
        return message

    async def _answer(self, planned: Awaitable[ReplyPlan]) -> AsyncGenerator[TurnEvent, None]:
        plan = await planned
        async with aclosing(Reply(self._store, self._engine, plan).run()) as events:
            async for event in events:
                yield event


def _check_prompt(text: str) -> None:
    if not text.strip():
        raise InvalidInput("The prompt is empty.", hint="Say something.")
