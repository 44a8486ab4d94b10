"""The engine that computes: models in memory, a scheduler for their replies, text out.

It keeps the promise of protocol.Engine, so the server serves it as it serves a scripted one. Importing this module is
cheap; torch and transformers are imported by a thread of their own, started by `prepare`, while the server already
answers. A model, base or adapter, is loaded when a request names it; residents.py tells which of them stay.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from chatbot.config import EngineSettings
from chatbot.engine.protocol import EngineModel, Finished, GenerationRequest, Health, Piece, TokenLogprob
from chatbot.engine.residents import Residents
from chatbot.engine.serving import list_models
from chatbot.errors import ChatbotError, EngineError, OutOfMemory, RequestRefused

if TYPE_CHECKING:
    from chatbot.engine.loading import LoadedModel
    from chatbot.engine.scheduler import Scheduler
    from chatbot.models.library import ModelLibrary

_log = logging.getLogger(__name__)


class TorchEngine:
    """Answers with the models of `library`. All methods belong to one event loop."""

    def __init__(self, library: ModelLibrary, settings: EngineSettings) -> None:
        self._library = library
        self._settings = settings
        self._residents = Residents(library, settings, self._import_libraries)
        self._scheduler: Scheduler | None = None

    @property
    def steps_done(self) -> int:
        """How many steps of computation were done since the start; tests watch a cancelled reply with it."""
        return self._scheduler.steps_done if self._scheduler else 0

    @property
    def loaded(self) -> tuple[str, ...]:
        """The models in memory, the most recently used last."""
        return self._residents.names

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[Piece | Finished, None]:
        async with self._residents.use(request.model) as model:
            prompt = await asyncio.to_thread(
                model.template.encode, request.messages, continue_last=request.continue_last
            )
            if len(prompt) >= model.context:
                raise RequestRefused(
                    f"The prompt has {len(prompt)} tokens, and the window of {model.name} holds {model.context}.",
                    code="context_length_exceeded",
                )
            async with aclosing(self._compute(_reply(model, prompt, request))) as items:
                async for item in items:
                    yield item

    async def score(self, request: GenerationRequest) -> tuple[TokenLogprob, ...]:
        from chatbot.engine.scoring import score_reply, split_reply

        async with self._residents.use(request.model) as model:
            reply = await asyncio.to_thread(split_reply, model.template, request.messages)
            if (length := len(reply.prompt) + len(reply.ids)) > model.context:
                raise RequestRefused(
                    f"The reply and what it answers have {length} tokens, and the window of {model.name} holds "
                    f"{model.context}.",
                    code="context_length_exceeded",
                )
            scored: list[TokenLogprob] = []
            steps = score_reply(model, reply, request.sampling.top_logprobs or 0)
            async with aclosing(self._compute(steps)) as parts:
                async for part in parts:
                    scored += part
            return tuple(scored)

    async def models(self) -> list[EngineModel]:
        return await asyncio.to_thread(list_models, self._library, self._settings)

    async def health(self) -> Health:
        return self._residents.health

    async def prepare(self) -> None:
        """Reads the libraries, so that the first model need not wait for them."""
        await self._residents.prepare()

    async def warm(self, model: str) -> None:
        task = self._residents.start_loading(model)
        task.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def close(self) -> None:
        self._residents.cancel()
        if self._scheduler is not None:
            await asyncio.to_thread(self._scheduler.close)
        self._residents.close()

    async def _compute(self, steps: Iterator[Any]) -> AsyncGenerator[Any, None]:
        """What `steps` yield but None, when the scheduler takes them. Closing it ends them."""
        from chatbot.engine.scheduler import Work

        loop = asyncio.get_running_loop()
        results: asyncio.Queue[Any] = asyncio.Queue()

        def deliver(result: Any) -> None:
            loop.call_soon_threadsafe(results.put_nowait, result)

        work = Work(steps, deliver, deliver)
        assert self._scheduler is not None  # a model was loaded, so the libraries were too
        self._scheduler.submit(work)
        try:
            while True:
                result = await results.get()
                if isinstance(result, ChatbotError):
                    raise result
                if result is None:
                    return
                yield result
        finally:
            work.cancel()

    def _import_libraries(self) -> None:
        """Runs in the loader's thread. The number of threads between operators can be set once only."""
        import torch
        import transformers  # noqa: F401  read here, in the loader, so that the first model need not wait

        from chatbot.engine.loading import count_threads
        from chatbot.engine.scheduler import Scheduler

        if self._scheduler is None:
            torch.set_num_threads(count_threads(self._settings.threads))
            if torch.get_num_interop_threads() != 1:
                torch.set_num_interop_threads(1)
            self._scheduler = Scheduler(translate=self._translate)

    def _translate(self, error: Exception) -> ChatbotError:
        """What went wrong in a step, for the request that it hit. Runs in the scheduler's thread."""
        from chatbot.engine.loading import is_out_of_memory

        if is_out_of_memory(error):
            self._residents.forget_prefixes()
            return OutOfMemory(
                "The memory does not hold this reply.", hint="Start a shorter conversation, or take a smaller model."
            )
        _log.error("a reply failed", exc_info=error)
        return EngineError(f"The engine failed while it computed the reply ({type(error).__name__}).")


def _reply(model: LoadedModel, prompt: list[int], request: GenerationRequest) -> Iterator[Piece | Finished | None]:
    """The steps of one reply: None while the prompt is read, pieces of text, one Finished. Runs in the scheduler.

    When it ends or is closed, the KV cache goes back for the next turn.
    """
    from chatbot.engine.choice import settle
    from chatbot.engine.generation import generate
    from chatbot.engine.reply_text import ReplyText
    from chatbot.engine.sampling import Sampler

    sampling = request.sampling
    limit = min(sampling.max_tokens or model.context, model.context - len(prompt))
    tokenizer = model.template.tokenizer
    text = ReplyText(tokenizer, sampling.stop, prompt if request.continue_last else ())
    sampler = Sampler(settle(sampling, model.choice), prompt, sampling.seed)
    cache, reused = model.prefixes.take(model.key, prompt)
    ids = list(prompt)
    reason: Any = "length"
    steps = generate(
        model.decoder,
        prompt,
        cache,
        sampler,
        reused=reused,
        limit=limit,
        top_logprobs=sampling.top_logprobs,
    )
    sound = False
    try:
        for token in steps:
            if token is None:
                yield None
                continue
            ids.append(token.id)
            if token.id in model.stop_ids:
                reason = "stop"
                break
            logprob = None
            if token.logprob is not None:
                top = tuple((tokenizer.decode([other]), value) for other, value in token.top)
                logprob = TokenLogprob(tokenizer.decode([token.id]), token.logprob, top)
            yield text.add(token.id, logprob)
            if text.stopped:
                reason = "stop"
                break
        yield text.finish()
        sound = True
        yield Finished(reason, len(prompt), len(ids) - len(prompt), reused)
    except GeneratorExit:
        sound = True  # left early, but between two steps: the cache is whole
        raise
    finally:
        if sound:
            model.prefixes.put(model.key, ids, cache)
