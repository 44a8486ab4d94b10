"""What is decided before the engine is asked: who says what, which model answers, how, and what it gets to read."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import UTC, datetime
from itertools import chain
from typing import Any

from chatbot.config import Settings
from chatbot.dialogue.answering import Answering, AnsweringModel
from chatbot.dialogue.events import ContextReport
from chatbot.dialogue.personas import Personas
from chatbot.dialogue.sampling import read_sampling
from chatbot.dialogue.titles import make_title
from chatbot.dialogue.turn import ReplyPlan, describe_sampling
from chatbot.dialogue.window import START, fit
from chatbot.engine.choice import settle
from chatbot.engine.protocol import GenerationRequest, Sampling
from chatbot.errors import InvalidInput, NotFound, StoreError
from chatbot.store.database import Store
from chatbot.store.records import Conversation, Message
from chatbot.store.replies import NewConversation
from chatbot.store.threads import run_in_thread

_SEEDS = 1 << 31


class Planner:
    """Makes the plan of one reply from the conversation, the persona, the settings and what was asked for."""

    def __init__(self, store: Store, answering: Answering, personas: Personas, settings: Settings) -> None:
        self._store = store
        self._answering = answering
        self._personas = personas
        self._settings = settings

    def say(self, conversation_id: str | None, text: str, persona_name: str | None) -> Message:
        """Commits the user's message; a conversation that begins with it gets its title and a copy of its persona."""
        if conversation_id is not None:
            if persona_name:
                self.set_persona(conversation_id, persona_name)
            said = self._store.replies.add_prompt(conversation_id, text)
            if said.parent_id is not None:
                # The prompt stands; a side note that cannot be written now must not cost its reply.
                with suppress(StoreError, NotFound, InvalidInput):
                    self._store.judgements.go_on_from(said.parent_id, author=self._settings.review.signature)
            return said
        persona = self._personas.find(persona_name or self._settings.persona)
        new = NewConversation(
            title=make_title(text) or "…",
            persona=persona.name,
            system_prompt=persona.system,
            sampling=describe_sampling(persona.sampling),
        )
        return self._store.replies.add_prompt(new, text)

    def set_persona(self, conversation_id: str, name: str) -> Conversation:
        """Raises NotFound."""
        persona = self._personas.find(name)
        return self._store.conversations.change(
            conversation_id,
            persona=persona.name,
            system_prompt=persona.system,
            sampling=describe_sampling(persona.sampling),
        )

    async def plan(
        self,
        below: Message,
        user: Message | None,
        sampling: Sampling | None,
        model: str | None,
        *,
        fresh: bool = False,
        beginning: str = "",
        branched_from: str = "",
    ) -> ReplyPlan:
        """A reply to `below`; if that is a reply itself, its continuation. `fresh` asks for a seed of its own.

        `beginning` is what the reply begins with, chosen by the reader out of the message `branched_from`.
        """
        name, system, chosen = await run_in_thread(self._prepare, below, sampling or Sampling(), model, fresh)
        answering = await self._answering.find(name)
        return await run_in_thread(self._fit, below, user, answering, system, chosen, beginning, branched_from)

    def choose_model(self, conversation: Conversation, model: str | None = None) -> str:
        """The name of the model that answers in this conversation now, `model` if that is given."""
        try:
            of_persona = self._personas.find(conversation.persona).model
        except NotFound:  # its file is gone; the conversation has a copy of the rest
            of_persona = ""
        return self._answering.choose(model, of_persona or None)

    def _prepare(self, below: Message, asked: Sampling, model: str | None, fresh: bool) -> tuple[str, str, Sampling]:
        """The model's name, the system prompt and the sampling of the turn."""
        conversation = self._store.conversations.get(below.conversation_id)
        system, of_conversation = self._store.conversations.system(below.conversation_id)
        if fresh:
            of_conversation.pop("seed", None)
        values = {**read_sampling(of_conversation), **describe_sampling(asked)}
        # Drawn here and written down, so that any reply can be repeated.
        values.setdefault("seed", secrets.randbelow(_SEEDS))
        return self.choose_model(conversation, model), system, Sampling(**values)

    def _fit(
        self,
        below: Message,
        user: Message | None,
        answering: AnsweringModel,
        system: str,
        sampling: Sampling,
        beginning: str,
        branched_from: str,
    ) -> ReplyPlan:
        continues = below.role == "assistant"
        reply_id = below.id if continues else self._store.replies.new_id()
        branch: Iterable[Message] = self._store.messages.ancestors(below.id)
        if beginning:  # the model reads it as it would read a reply that it is to continue
            now = datetime.now(UTC)
            begun = Message(reply_id, below.conversation_id, below.id, "assistant", beginning, "streaming", now)
            branch = chain([begun], branch)
        context = fit(branch, system, answering.window, answering.counter, max_tokens=sampling.max_tokens)
        left_out = self._store.messages.count_branch(below.id) + int(bool(beginning)) - context.kept
        generation: dict[str, Any] = {
            "model": answering.name,
            "seed": sampling.seed,
            "sampling": describe_sampling(sampling),
            "window": context.window,
            "left_out": left_out,
            START: context.start,
        }
        if answering.choice is not None:
            generation["drawn_with"] = asdict(settle(sampling, answering.choice))
        if beginning:
            generation |= {"branched_from": branched_from, "from_character": len(beginning)}
        if continues:
            generation["parts"] = _list_parts(below)
            if "branched_from" in below.generation:
                generation["branched_from"] = below.generation["branched_from"]

        def begin(described: dict[str, Any]) -> Message:
            version, template = answering.version_id, answering.template_sha
            if continues:
                return self._store.replies.resume(below, version, template, described)
            return self._store.replies.start(reply_id, below.id, version, template, described, beginning)

        content = below.content if continues else beginning
        asked = sampling
        if sampling.top_logprobs is None and not self._settings.engine.url:
            # Our own engine tells the drawn tokens' log-probabilities for next to nothing. How a reply was drawn does
            # not depend on it, so it is not written down with the sampling.
            asked = replace(sampling, top_logprobs=0)
        return ReplyPlan(
            reply_id=reply_id,
            user=user,
            request=GenerationRequest(answering.name, context.messages, asked, continue_last=bool(content)),
            context=ContextReport(context.tokens, context.window, left_out, context.exact),
            counter=answering.counter,
            generation=generation,
            begin=begin,
            content=content,
        )


def _list_parts(reply: Message) -> list[dict[str, Any]]:
    """What is known of the parts that a reply has already."""
    generation = dict(reply.generation)
    generation.pop("compression_ratio", None)  # of the text, and so of all parts together
    found = generation.pop("parts", [])
    parts = [part for part in found if isinstance(part, dict)] if isinstance(found, list) else []  # it may be imported
    return parts or [{"from_character": 0, **generation, "finish_reason": reply.finish_reason}]
