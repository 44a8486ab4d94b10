"""How probable each token of a reply is to the model that wrote it, for whoever reviews it.

Nothing of it is stored: the model reads what it read then, and the reply behind it, once. So the replies of years ago,
imported ones and those that a person corrected can be looked at alike. What it reads is the branch from the message
that is recorded as the beginning of its context; if a model of another window is asked, or nothing is recorded, as much
of the branch as a new reply would be given.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain

from chatbot.dialogue.answering import Answering, AnsweringModel
from chatbot.dialogue.planning import Planner
from chatbot.dialogue.prompt import assemble
from chatbot.dialogue.window import START, fit
from chatbot.engine.protocol import Engine, GenerationRequest, Sampling, TokenLogprob
from chatbot.errors import InvalidInput, PromptTooLong
from chatbot.models.template import ChatMessage
from chatbot.store.database import Store
from chatbot.store.records import Message
from chatbot.store.threads import run_in_thread


@dataclass(frozen=True, slots=True)
class Scores:
    """The tokens of a reply, which joined are its text, and the name of the model that judged them."""

    model: str
    tokens: tuple[TokenLogprob, ...]


class Scorer:
    """Scores replies."""

    def __init__(self, store: Store, engine: Engine, answering: Answering, planner: Planner) -> None:
        self._store = store
        self._engine = engine
        self._answering = answering
        self._planner = planner

    async def score(self, message_id: str, top: int) -> Scores:
        """With the `top` ≤ 20 most probable tokens at each place. The model is the one that wrote the reply; if that is
        not known or no longer there, the one that answers now.

        Raises NotFound, InvalidInput, ModelError, EngineError (RequestRefused if the engine cannot tell).
        """
        sampling = Sampling(top_logprobs=top)
        message = await run_in_thread(self._store.messages.get, message_id)
        if message.role != "assistant":
            raise InvalidInput("Only a reply can be scored.")
        if not message.content:
            raise InvalidInput("This reply is empty: it has no tokens.")
        name = message.model
        if not name or not await self._answering.knows(name):
            name = await run_in_thread(self._choose_model, message)
        answering = await self._answering.find(name)
        context = await run_in_thread(self._read_context, message, answering)
        messages = (*context, ChatMessage("assistant", message.content))
        request = GenerationRequest(answering.name, messages, sampling, continue_last=True)
        return Scores(answering.name, await self._engine.score(request))

    def _choose_model(self, message: Message) -> str:
        return self._planner.choose_model(self._store.conversations.get(message.conversation_id))

    def _read_context(self, message: Message, answering: AnsweringModel) -> tuple[ChatMessage, ...]:
        """What the model is to read before the reply."""
        system, _ = self._store.conversations.system(message.conversation_id)
        length = answering.counter.count_text(message.content)
        recorded = self._read_recorded(message, system)
        if recorded:
            same = (message.model, message.generation.get("window")) == (answering.name, answering.window)
            if same or answering.counter.count(recorded) + length <= answering.window:
                return recorded
        above = iter(self._store.messages.ancestors(message.parent_id)) if message.parent_id else iter(())
        parent = next(above, None)
        if parent is None:  # an import may begin with a reply
            return assemble(system, [])
        try:
            room = answering.window - length
            return fit(chain([parent], above), system, room, answering.counter, max_tokens=1).messages
        except PromptTooLong:
            raise InvalidInput(
                f"This reply and the message before it do not fit the window of {answering.name}, which holds "
                f"{answering.window:,} tokens.",
                hint="Let a model with a larger window answer, then look again.",
            ) from None

    def _read_recorded(self, message: Message, system: str) -> tuple[ChatMessage, ...]:
        """What the model read when it wrote the reply, without what was deleted since; empty if that is not known."""
        start = message.generation.get(START)
        if not isinstance(start, str) or message.parent_id is None:
            return ()
        read: list[Message] = []
        for above in self._store.messages.ancestors(message.parent_id):
            if above.id < start:
                break  # the first that was read is deleted
            read.append(above)
            if above.id == start:
                break
        return assemble(system, read[::-1]) if read else ()
