"""The review under test: a store with replies of many kinds, a scripted engine, Textual's pilot."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from textual.pilot import Pilot

from chatbot.config import Home, ReviewSettings, Settings, TerminalSettings
from chatbot.dialogue.manager import Manager
from chatbot.engine.scripted import ScriptedEngine
from chatbot.store.database import Store
from chatbot.store.migrations import open_upgraded
from chatbot.store.records import Message
from chatbot.store.replies import NewConversation
from chatbot.terminal.app import ChatApp
from chatbot.terminal.screens.review import ReviewScreen

MODEL = "scripted"


def open_store(home: Home) -> Store:
    return open_upgraded(home.database_url(Settings()))


def say(
    store: Store,
    prompt: str,
    reply: str,
    *,
    title: str = "",
    where: str = "",
    status: Any = "complete",
    reason: str = "stop",
    rating: Any = 0,
    tags: Sequence[str] = (),
    model: str = MODEL,
    **generation: Any,
) -> Message:
    """A turn, in a conversation of its own or in `where`."""
    version = store.model_versions.find_or_add_base(model, sha256=model, template_sha="", path=model)
    said = store.replies.add_prompt(where or NewConversation(title or prompt[:40], "default", ""), prompt)
    reply_id = store.replies.new_id()
    told = {"seed": 7, "completion_tokens": 12, "tokens_per_second": 11.0, "mean_logprob": -0.5, **generation}
    store.replies.start(reply_id, said.id, version, "", told)
    store.replies.finish(reply_id, reply, status, reason, told)
    if rating or tags:
        store.judgements.say(reply_id, author="anna", rating=rating, tags=list(tags) or None)
    return store.messages.get(reply_id)


class Review:
    """An application under test that shows the review."""

    def __init__(self, app: ChatApp, pilot: Pilot[None], store: Store, engine: ScriptedEngine) -> None:
        self.app = app
        self.pilot = pilot
        self.store = store
        """A second connection to the same database."""
        self.engine = engine

    @property
    def screen(self) -> ReviewScreen:
        return next(screen for screen in reversed(self.app.screen_stack) if isinstance(screen, ReviewScreen))

    @property
    def reply(self) -> str:
        """What the reply under review says, empty if there is none."""
        item = self.screen.item
        return item.reply.content if item else ""

    @property
    def shown(self) -> str:
        """The whole screen as text."""
        strips = self.app.screen._compositor.render_strips()
        return "\n".join("".join(segment.text for segment in strip) for strip in strips)

    def decision(self, reply: Message) -> str:
        return self.store.messages.get(reply.id).decision

    async def until(self, condition: Callable[[], Any], what: str = "", seconds: float = 15.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"waited in vain for {what or 'the condition'}:\n{self.shown}"
            await asyncio.sleep(0.005)

    async def until_shown(self, text: str) -> None:
        await self.until(lambda: text in self.shown, repr(text))

    async def until_reply(self, text: str) -> None:
        """Until the reply `text` is under review and all that was asked for is done."""
        await self.until(lambda: self.reply == text and not self.screen.workers_busy, f"the reply {text!r}")

    async def until_done(self) -> None:
        await self.until(lambda: not self.screen.workers_busy, "what was asked for")

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    async def do(self, *keys: str) -> None:
        """Presses keys one by one, and waits for each to have its effect."""
        for key in keys:
            await self.pilot.press(key)
            await self.until_done()

    async def write(self, text: str) -> None:
        """Text for the line that is open."""
        await self.until(lambda: self.screen.line.input.has_focus, "the line")
        self.screen.line.input.value = text
        await self.press("enter")
        await self.until_done()


@contextlib.asynccontextmanager
async def open_review(
    home: Home,
    *,
    filter_line: str = "",
    engine: ScriptedEngine | None = None,
    size: tuple[int, int] = (80, 24),
    theme: str = "chatbot-dark",
    wanted: int = 200,
    names: str = "",
    opener: Callable[[], Manager] | None = None,
    ready: bool = True,
) -> AsyncIterator[Review]:
    """`chatbot review` on the store of `home`."""
    settings = Settings(
        model=MODEL,
        terminal=TerminalSettings(theme=theme),
        review=ReviewSettings(author="rita", wanted=wanted, names=names),
    )
    scripted = engine or ScriptedEngine([["Another ", "reply."]])

    def open_manager() -> Manager:
        return Manager(open_store(home), scripted, settings=settings, home=home)

    app = ChatApp(settings, home, review=filter_line, open_manager=opener or open_manager)
    with contextlib.closing(open_store(home)) as store:
        async with app.run_test(size=size, notifications=True) as pilot:
            review = Review(app, pilot, store, scripted)
            if ready:
                await review.until(lambda: review.screen.walk is not None, "the start")
                await review.until_done()
            yield review
            if app.is_running:
                await app.action_quit()
