"""Writes the screenshots and the transcript that the README shows, from a conversation with the real model.

`make docs` runs it. Five turns through the dialogue manager as the chat does them, then the chat itself with that
conversation open, then the review of its replies, one of them rated down. The replies are the model's own, unchanged;
the seed is fixed so that they stay the same.
"""

from __future__ import annotations

import asyncio
import re
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from chatbot.config import Home, Settings
from chatbot.dialogue.events import ReplyEnded
from chatbot.dialogue.manager import Sampling
from chatbot.dialogue.opening import open_manager
from chatbot.models.library import ModelLibrary
from chatbot.models.pull import pull_model
from chatbot.store.migrations import open_upgraded
from chatbot.terminal.app import ChatApp
from chatbot.terminal.screens.chat import ChatScreen
from chatbot.terminal.screens.review import ReviewScreen

DOCS = Path(__file__).parent
PROMPTS = (
    "Hello! What is the capital of France?",
    "What is it famous for?",
    "Which of these should I see first, and why?",
    "Write a Python function that counts the words in a text.",
    "Show me how to call it.",
)


async def converse(settings: Settings, home: Home) -> str:
    """Five turns; the transcript as Markdown."""
    manager = await asyncio.to_thread(open_manager, settings, home)
    parts = ["# A conversation of five turns\n", f"Model: {settings.model}. Written by `make docs`.\n"]
    conversation: str | None = None
    try:
        for prompt in PROMPTS:
            async for event in manager.reply(conversation, prompt, sampling=Sampling(seed=5, max_tokens=200)):
                if isinstance(event, ReplyEnded):
                    reply = event.reply
                    conversation = reply.conversation_id
                    told = reply.generation
                    facts = (
                        f"{told['prompt_tokens']} tokens read, {told['cached_tokens']} of them from the cache; "
                        f"{told['completion_tokens']} written; {reply.finish_reason}"
                    )
                    parts.append(f"**You:** {prompt}\n\n{reply.content.strip()}\n\n*{facts}*\n")
    finally:
        await manager.close()
    return "\n".join(parts)


async def photograph_chat(settings: Settings, home: Home, size: tuple[int, int]) -> str:
    """The chat with the newest conversation open, as SVG."""
    app = ChatApp(settings, home, latest=True)
    async with app.run_test(size=size):
        screen = app.screen_stack[0]
        assert isinstance(screen, ChatScreen)
        await wait_until(lambda: len(screen.transcript.messages) >= 2 * len(PROMPTS))
        await wait_until(lambda: screen.status.status.engine == "ready")
        return await photograph(app)


async def photograph_review(settings: Settings, home: Home, size: tuple[int, int]) -> str:
    """The review with the reply that was rated down, as SVG."""
    with open_upgraded(home.database_url(settings)) as store:
        [conversation] = store.conversations.list()
        reply = next(one for one in store.messages.transcript(conversation.id) if one.finish_reason == "length")
        store.judgements.say(reply.id, author="you", rating=-1, comment="It breaks off.")
    app = ChatApp(settings, home, review="")
    async with app.run_test(size=size):
        await wait_until(lambda: isinstance(app.screen, ReviewScreen) and app.screen.item is not None)
        return await photograph(app)


async def photograph(app: ChatApp) -> str:
    await asyncio.sleep(0.5)  # the layout after the last message
    svg = app.export_screenshot(title="chatbot")
    await app.action_quit()
    # The picture must not fetch fonts from anywhere: the reader's own monospace font serves.
    return re.sub(r"@font-face\s*{[^}]*}", "", svg)


async def wait_until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            sys.exit("The chat did not come up.")
        await asyncio.sleep(0.02)


async def main() -> None:
    cache = DOCS.parent / ".cache" / "home" / "models"
    settings = Settings()
    pull_model(ModelLibrary(cache), settings.model)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        home = Home(config=path, data=path, state=path, runtime=path / "run")
        home.models.symlink_to(cache)
        transcript = await converse(settings, home)
        chat = await photograph_chat(settings, home, (112, 34))
        review = await photograph_review(settings, home, (112, 34))
        from chatbot.engine.client import connect_engine

        await connect_engine(settings, home).leave()
    (DOCS / "conversation.md").write_text(transcript, "utf-8")
    (DOCS / "chat.svg").write_text(chat, "utf-8")
    (DOCS / "review.svg").write_text(review, "utf-8")


if __name__ == "__main__":
    asyncio.run(main())
