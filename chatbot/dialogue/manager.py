"""The dialogue: everything that happens in a conversation, for whoever shows it.

The screen, `chatbot ask` and tests all drive this one object. Reading and changing are plain calls, quick, to be made
off an event loop. A turn is an asynchronous generator of events; closing it, or cancelling the task that reads it,
stops the reply and keeps what was said.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

from chatbot.config import Home, Settings
from chatbot.dialogue.answering import Answering, AnsweringModel
from chatbot.dialogue.events import ContextReport, TurnEvent
from chatbot.dialogue.personas import Persona, Personas
from chatbot.dialogue.titles import make_title
from chatbot.dialogue.turn import Reply, ReplyPlan, describe_sampling, storable
from chatbot.dialogue.window import START, fit
from chatbot.engine.protocol import Engine, GenerationRequest, Health, Sampling
from chatbot.errors import InvalidInput, NotFound
from chatbot.store.database import Store
from chatbot.store.records import Conversation, Message
from chatbot.store.replies import NewConversation
from chatbot.store.threads import run_in_thread

__all__ = ["Health", "Manager", "Persona", "Sampling"]

_TITLE_LIMIT = 200
_SEEDS = 1 << 31


class Manager:
    """One program's way into its conversations. Raises only errors of `chatbot.errors`."""

    def __init__(self, store: Store, engine: Engine, *, settings: Settings, home: Home) -> None:
        self._store = store
        self._engine = engine
        self._settings = settings
        self._personas = Personas(home.personas)
        self._answering = Answering(store, engine, settings, home)
        store.replies.mark_interrupted()

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
        return self._personas.list()

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
        persona = self._personas.find(name)
        return self._store.conversations.change(
            conversation_id,
            persona=persona.name,
            system_prompt=persona.system,
            sampling=describe_sampling(persona.sampling),
        )

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
        user = await run_in_thread(self._say, conversation_id, text, persona)
        async with aclosing(self._answer(user, user, sampling, model)) as events:
            async for event in events:
                yield event

    async def regenerate(
        self, message_id: str, *, sampling: Sampling | None = None, model: str | None = None
    ) -> AsyncGenerator[TurnEvent, None]:
        """Another reply beside this one, with another seed; or one to a user's message."""
        message = await run_in_thread(self._store.messages.get, message_id)
        if message.role == "assistant":
            if message.parent_id is None:
                raise InvalidInput("There is no message that this replies to.")
            message = await run_in_thread(self._store.messages.get, message.parent_id)
        async with aclosing(self._answer(message, None, sampling, model)) as events:
            async for event in events:
                yield event

    async def edit(
        self, message_id: str, text: str, *, sampling: Sampling | None = None, model: str | None = None
    ) -> AsyncGenerator[TurnEvent, None]:
        """Says `text` in place of the user's message, on a branch beside it, and streams the answer."""
        _check_prompt(text)
        user = await run_in_thread(self._store.replies.add_edited, message_id, storable(text))
        async with aclosing(self._answer(user, user, sampling, model)) as events:
            async for event in events:
                yield event

    async def continue_reply(
        self, message_id: str, *, sampling: Sampling | None = None, model: str | None = None
    ) -> AsyncGenerator[TurnEvent, None]:
        """Writes on at the end of a reply that was interrupted, stopped or cut off, in the same message."""
        self._store.replies.mark_interrupted()
        message = await run_in_thread(self._store.messages.get, message_id)
        if message.role != "assistant":
            raise InvalidInput("Only a reply can be continued.")
        async with aclosing(self._answer(message, None, sampling, model)) as events:
            async for event in events:
                yield event

    # The engine

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

    # How a turn is made

    def _say(self, conversation_id: str | None, text: str, persona_name: str | None) -> Message:
        """Commits the user's message."""
        if conversation_id is not None:
            if persona_name:
                self.set_persona(conversation_id, persona_name)
            return self._store.replies.add_prompt(conversation_id, storable(text))
        persona = self._personas.find(persona_name or self._settings.persona)
        new = NewConversation(
            title=make_title(storable(text)),
            persona=persona.name,
            system_prompt=persona.system,
            sampling=describe_sampling(persona.sampling),
        )
        return self._store.replies.add_prompt(new, storable(text))

    async def _answer(
        self, below: Message, user: Message | None, sampling: Sampling | None, model: str | None
    ) -> AsyncGenerator[TurnEvent, None]:
        """A reply to `below`; if that is a reply itself, its continuation."""
        name, system, chosen = await run_in_thread(self._prepare, below, sampling, model)
        answering = await self._answering.find(name)
        plan = await run_in_thread(self._plan, below, user, answering, system, chosen)
        async with aclosing(Reply(self._store, self._engine, plan).run()) as events:
            async for event in events:
                yield event

    def _prepare(self, below: Message, sampling: Sampling | None, model: str | None) -> tuple[str, str, Sampling]:
        """The model's name, the system prompt and the sampling of the turn."""
        conversation = self._store.conversations.get(below.conversation_id)
        system, of_conversation = self._store.conversations.system(below.conversation_id)
        try:
            of_persona = self._personas.find(conversation.persona).model
        except NotFound:  # its file is gone; the conversation has a copy of the rest
            of_persona = ""
        values: dict[str, Any] = {**of_conversation, **describe_sampling(sampling or Sampling())}
        values["stop"] = tuple(values.get("stop", ()))
        if values.get("seed") is None or ((sampling or Sampling()).seed is None and below.role == "assistant"):
            values["seed"] = secrets.randbelow(_SEEDS)  # drawn here and kept, so that any reply can be repeated
        return self._answering.choose(model, of_persona or None), system, Sampling(**values)

    def _plan(
        self, below: Message, user: Message | None, answering: AnsweringModel, system: str, sampling: Sampling
    ) -> ReplyPlan:
        continues = below.role == "assistant"
        branch = self._store.messages.ancestors(below.id)
        context = fit(branch, system, answering.window, answering.counter, max_tokens=sampling.max_tokens)
        left_out = self._store.messages.count_branch(below.id) - context.kept
        reply_id = below.id if continues else self._store.replies.new_id()
        generation: dict[str, Any] = {
            "seed": sampling.seed,
            "sampling": describe_sampling(sampling),
            "window": context.window,
            "left_out": left_out,
            START: context.start,
        }
        if continues:
            generation["parts"] = _list_parts(below)

        def begin(described: dict[str, Any]) -> Message:
            version, template = answering.version_id, answering.template_sha
            if continues:
                return self._store.replies.resume(reply_id, version, template, described)
            return self._store.replies.start(reply_id, below.id, version, template, described)

        continue_last = continues and bool(below.content)
        return ReplyPlan(
            reply_id=reply_id,
            user=user,
            request=GenerationRequest(answering.name, context.messages, sampling, continue_last),
            context=ContextReport(context.tokens, context.window, left_out, context.exact),
            counter=answering.counter,
            generation=generation,
            begin=begin,
            content=below.content if continues else "",
        )


def _check_prompt(text: str) -> None:
    if not text.strip():
        raise InvalidInput("The prompt is empty.", hint="Say something.")


def _list_parts(reply: Message) -> list[dict[str, Any]]:
    """What is known of the parts that a reply has already."""
    generation = dict(reply.generation)
    parts: list[dict[str, Any]] = generation.pop("parts", [])
    return parts or [{**generation, "finish_reason": reply.finish_reason, "from_character": 0}]
