"""The chat, in a terminal of its own, that shows hostile strings on every surface, one batch after another.

    python -m tests.terminal.hostile_app STRINGS.json

The test that starts it reads every byte that reaches the terminal. When all was shown, the file STRINGS.json.done is
there and the program leaves.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from textual.containers import Vertical
from textual.screen import Screen

from chatbot.config import Settings, find_home
from chatbot.dialogue.manager import Manager
from chatbot.engine.scripted import ScriptedEngine
from chatbot.errors import EngineLost
from chatbot.store.migrations import open_upgraded
from chatbot.store.records import Conversation, Message
from chatbot.store.reply_states import Judgement
from chatbot.terminal.app import ChatApp
from chatbot.terminal.screens.chat import ChatScreen
from chatbot.terminal.screens.choose import AskText, Choose
from chatbot.terminal.screens.duel import DuelScreen
from chatbot.terminal.screens.remark import Remark
from chatbot.terminal.widgets.correction import CorrectionEditor
from chatbot.terminal.widgets.message import MessageView
from chatbot.terminal.widgets.notices import Notice, Queue
from chatbot.terminal.widgets.prompt import Prompt
from chatbot.terminal.widgets.sidebar import Sidebar
from chatbot.terminal.widgets.status_line import StatusLine

BATCH = 250
ROWS = 36


class Gallery(Screen[None]):
    """Many widgets of one kind at a time, because a terminal draws at most sixty frames a second."""

    DEFAULT_CSS = """
    Gallery { overflow: hidden; }
    Gallery > Vertical { height: auto; }
    Gallery Prompt, Gallery CorrectionEditor { max-height: 36; height: 36; }
    """


class HostileEngine(ScriptedEngine):
    """Says what it is given; every other reply ends in an error that is hostile too."""

    def __init__(self) -> None:
        super().__init__([[]], context=10_000_000)

    def take(self, batch: list[str]) -> None:
        text = "\n\n".join(batch)
        pieces: list[str | Exception] = [text[start : start + 97] for start in range(0, len(text), 97)]
        error = EngineLost(batch[0], hint=batch[1])
        self._replies = [[*pieces, *([error] if len(self.requests) % 2 else [])]]


class HostileApp(ChatApp):
    CSS = ".dialog OptionList { max-height: 30; }"  # a whole batch at once

    def __init__(self, path: Path) -> None:
        self.path = path
        self.strings: list[str] = json.loads(path.read_text("utf-8"))
        self.engine = HostileEngine()
        settings, home = Settings(model="scripted"), find_home()

        def open_manager() -> Manager:
            store = open_upgraded(home.database_url(settings))
            return Manager(store, self.engine, settings=settings, home=home)

        super().__init__(settings, home, open_manager=open_manager)

    def on_ready(self) -> None:
        self.run_worker(self.show_all(), exit_on_error=True)

    async def show_all(self) -> None:
        screen = self.screen
        assert isinstance(screen, ChatScreen)
        while screen.manager is None or screen.workers_busy:
            await self.rest()
        for batch in self.batches(BATCH):
            self.engine.take(batch)
            await self.converse(screen, batch)
        for string in self.strings:
            self.set_terminal_title(f"{string} · chatbot")
        await self.show_toasts(screen)
        await self.show_palette(screen)
        await self.show_gallery()
        self.path.with_suffix(".done").write_text("done")
        await self.action_quit()

    def batches(self, size: int) -> Iterator[list[str]]:
        for start in range(0, len(self.strings), size):
            batch = self.strings[start : start + size]
            yield batch if len(batch) > 1 else [*batch, *batch]

    async def converse(self, screen: ChatScreen, batch: list[str]) -> None:
        """A conversation whose prompt and reply are hostile; the reply is seen streaming, finished and scrolled."""
        await screen.open_conversation(None)
        text = "\n".join(batch)
        for start in range(0, len(text), 15_000):  # as much of a message of the user as is shown of it
            await screen.send(text[start : start + 15_000])
            while screen.turns or screen.workers_busy or screen.transcript.last is None:
                await self.rest()
            while screen.transcript.scroll_y > 0:
                screen.transcript.scroll_page_up(animate=False)
                await self.frame()
            self.engine.take(batch[:2])

    async def show_toasts(self, screen: ChatScreen) -> None:
        for batch in self.batches(16):
            for first, second in zip(batch[::2], batch[1::2], strict=False):
                screen.tell(f"{first[:140]} {second[:140]}")
            await self.frame()
            self._notifications.clear()
            await screen.query("ToastHolder").remove()

    async def show_palette(self, screen: ChatScreen) -> None:
        """Titles in the database, found by the palette and listed by the sidebar."""
        assert screen.manager is not None
        ids = [one.id for one in screen.manager.conversations(limit=20)]
        for batch in self.batches(len(self.strings) // 10):
            for conversation_id, string in zip(ids, batch, strict=False):
                await screen.call(screen.manager.rename, conversation_id, f"t {string}")
            await screen.refresh_conversations()
            self.action_command_palette()
            await self.frame()
            self.simulate_key("t")
            await asyncio.sleep(0.3)
            self.screen.dismiss()
            await self.frame()

    async def show_gallery(self) -> None:
        """Each small widget, every string, a screenful a frame."""
        gallery = Gallery()
        await self.push_screen(gallery)
        now = datetime.now(UTC)
        sidebar, prompt = Sidebar(), Prompt(self.keys)
        reply = Message("1", "", None, "assistant", "", "complete", now)
        editor, marked = CorrectionEditor(reply, self.keys), [MessageView(reply) for _ in range(ROWS // 3)]
        lines = [StatusLine("") for _ in range(ROWS)]
        notices = [Notice() for _ in range(ROWS // 2)]
        queues = [Queue() for _ in range(ROWS // 3)]
        for widgets in ([sidebar], [prompt], [editor], marked, lines, notices, queues):
            await gallery.mount_all(Vertical(widget) for widget in widgets)  # they have ids, one to a parent
            size = ROWS * 3 if widgets is lines else ROWS - 6 if widgets == [sidebar] else ROWS
            for batch in self.batches(size):
                if widgets == [sidebar]:
                    sidebar.show([Conversation(str(n), one, "", now, now) for n, one in enumerate(batch)], "0")
                elif widgets == [prompt]:
                    prompt.load_text("\n".join(batch))  # as if typed: past the folding
                elif widgets == [editor]:
                    editor.load_text("\n".join(batch))
                for view, one, two, three in zip(marked, batch[::3], batch[1::3], batch[2::3], strict=False):
                    view.set_message(replace(reply, rating=-1, generation={"corrects": "0", "author": one}))
                    view.judge(Judgement(tags=(two, two), comment=three))
                for line, one, two, three in zip(lines, batch[::3], batch[1::3], batch[2::3], strict=False):
                    line.change(model=one, persona=two, detail=three, engine="failed")
                for notice, one, two in zip(notices, batch[::2], batch[1::2], strict=False):
                    notice.show_error(EngineLost(one, hint=two))
                for queue, one, two, three in zip(queues, batch[::3], batch[1::3], batch[2::3], strict=False):
                    queue.show([one, two, three], "")
                await self.frame()
            await gallery.remove_children()
        self.pop_screen()
        for batch in self.batches(ROWS - 10):
            dialog = Choose(batch[0], [(one, one) for one in batch], batch[0])
            await self.push_screen(dialog)
            await self.frame()
            dialog.dismiss("")
            question = AskText("Rename", batch[1])
            await self.push_screen(question)
            await self.frame()
            question.dismiss("")
        for batch in self.batches(100):  # the pieces of these were all shown above
            remark = Remark(batch[:3], batch[3 % len(batch)], batch)
            await self.push_screen(remark)
            await self.frame()
            remark.dismiss(None)
            duel = DuelScreen(batch[0], halt=lambda: None, describe_wait=lambda: "…")
            await self.push_screen(duel)
            duel.grow("left", "\n\n".join(batch[::2]))
            duel.end("right", replace(reply, content="\n\n".join(batch[1::2])), batch[1])
            await self.frame()
            duel.dismiss("open")

    async def rest(self) -> None:
        """Leaves the interpreter to the other threads: drawing all the time takes it from the database's."""
        await asyncio.sleep(0.02)

    async def frame(self) -> None:
        """Until what changed has been drawn."""
        drawn = asyncio.Event()
        self.call_after_refresh(drawn.set)
        await drawn.wait()


if __name__ == "__main__":
    sys.exit(HostileApp(Path(sys.argv[1])).run())
