"""The chat: conversations on the left, the transcript, the prompt, and one line of status."""

from __future__ import annotations

import gc
import re
from typing import TYPE_CHECKING, ClassVar

from textual.actions import SkipAction
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import OptionList, Static

from chatbot.terminal.actions import ACTIONS, BY_NAME, BY_SLASH, show_keys
from chatbot.terminal.screens.opening import Opening
from chatbot.terminal.widgets.correction import CorrectionEditor
from chatbot.terminal.widgets.message import MessageView
from chatbot.terminal.widgets.notices import Completions, Notice, Queue
from chatbot.terminal.widgets.prompt import Prompt
from chatbot.terminal.widgets.sidebar import ConversationList, Sidebar
from chatbot.terminal.widgets.status_line import StatusLine
from chatbot.terminal.widgets.transcript import Transcript
from chatbot.text import printable_line

if TYPE_CHECKING:
    from textual import events
    from textual.app import ComposeResult
    from textual.binding import BindingType

_SLASH = re.compile(r"/([a-z]+)(?:\s+(.*))?", re.DOTALL)
_UNFINISHED = {"interrupted": "was interrupted", "failed": "failed"}
_WITHOUT_LETTERS = frozenset({"send", "newline", "keep_correction"})
_SCROLLING = frozenset({"scroll_back", "scroll_forward", "to_top", "to_end"})


class ChatScreen(Opening):
    """The one screen of the application; everything else is laid over it."""

    AUTO_FOCUS = "#prompt"
    _unknown = False  # whether the notice is about an unknown command in the prompt
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(action.keys, f"perform('{action.name}')", action.title, id=action.name, show=False, priority=True)
        for action in ACTIONS
        if action.keys and action.name not in _WITHOUT_LETTERS
    ]

    def compose(self) -> ComposeResult:
        with Horizontal(id="columns"):
            yield Sidebar()
            with Vertical(id="main"):
                yield Static(self._describe_start(), id="welcome")
                yield Transcript()
                yield Static(Content("↓ there is more below · End"), id="below")
                yield Notice()
                yield Queue()
                yield Completions()
                yield Prompt(self.keys)
                yield StatusLine(self.settings.model)

    def on_mount(self) -> None:
        if self.settings.terminal.sidebar:
            self.add_class("-sidebar-wanted")
        self.call_after_refresh(self._begin)

    def _begin(self) -> None:
        """After the first frame: the database and the engine, while keys are echoed already."""
        gc.enable()
        for problem in self.app.problems:
            self.notify(problem, severity="warning", markup=False, timeout=10)
        self.attempt(self.open_database)

    async def action_perform(self, name: str, argument: str = "") -> None:
        """One of ACTIONS by name; it runs beside the keys, and an error of ours is shown."""
        if name in _SCROLLING and isinstance(self.focused, OptionList | CorrectionEditor):
            raise SkipAction
        if self.is_held_up(name):
            return
        method = getattr(self, f"action_{name}")
        self.attempt(lambda: method(argument) if argument and BY_NAME[name].argument else method())

    # --- the prompt -------------------------------------------------------------------------------------------------

    async def on_prompt_submitted(self, event: Prompt.Submitted) -> None:
        event.stop()
        text = event.text
        if not text.strip():
            if self.queue and self.turn is None and self.manager is not None:
                self.attempt(self._send_next)
            return
        command = _SLASH.fullmatch(text.strip()) if text.startswith("/") else None
        if command is None:
            self.prompt.past.insert(0, text)
            self.attempt(lambda: self.send(text))
        elif command[1] in BY_SLASH:
            await self.action_perform(BY_SLASH[command[1]].name, (command[2] or "").strip())
        else:
            self.prompt.load(text + self.prompt.full_text)
            self._unknown = True
            self.notice.show_note(f"There is no command /{command[1]}; /help lists them. A space before it sends it.")

    def on_prompt_edited(self, event: Prompt.Edited) -> None:
        event.stop()
        typed = self.prompt.text
        if not typed and self._unknown:
            self._unknown = False
            self.notice.hide()
        if typed.startswith("/") and " " not in typed and "\n" not in typed:
            self.completions.show(typed, self.keys)
        else:
            self.completions.hide()
        self.prompt.completing = self.completions.display
        self.save_draft_soon()

    async def on_prompt_completion_key(self, event: Prompt.CompletionKey) -> None:
        event.stop()
        self.completions.catch_up(self.prompt.text)
        action = self.completions.chosen
        if event.key == "enter" and action is None:
            self.prompt.submit()
        elif event.key in {"up", "down"}:
            self.completions.step(-1 if event.key == "up" else 1)
        elif action is not None and (event.key == "tab" and action.argument):
            self.prompt.load(f"/{action.slash} ")
        elif action is not None:
            self.completions.hide()
            self.prompt.clear_all()
            await self.action_perform(action.name)

    async def action_send(self) -> None:
        self.prompt.submit()

    async def action_newline(self) -> None:
        self.prompt.insert("\n")

    async def action_unfold(self) -> None:
        if not self.prompt.unfold():
            self.tell("There is no folded paste in the prompt.")

    async def action_open_editor(self) -> None:
        from chatbot.terminal.editor import edit_text

        if editor := self.correction:
            editor.load_text(edit_text(self.app, editor.text))
        else:
            self.prompt.load(edit_text(self.app, self.prompt.full_text))

    # --- the transcript ---------------------------------------------------------------------------------------------

    async def on_transcript_near_top(self, event: Transcript.NearTop) -> None:
        event.stop()
        self.attempt(self.load_older)

    def on_transcript_moved(self, event: Transcript.Moved) -> None:
        event.stop()
        self.show_below()

    async def on_message_view_clicked(self, event: MessageView.Clicked) -> None:
        event.stop()
        await self.select_view(event.view)

    async def on_key(self, event: events.Key) -> None:
        """Letters for the selected message, and for the list; any other letter goes to the prompt."""
        letters = {action.letter: action.name for action in ACTIONS if action.letter}
        if self.transcript.has_focus and event.key in letters:
            event.stop()
            await self.action_perform(letters[event.key])
        elif isinstance(self.focused, ConversationList) and event.key in _LIST_LETTERS:
            event.stop()
            await self.action_perform(_LIST_LETTERS[event.key])
        elif event.is_printable and event.character and self.transcript.has_focus and not self.prompt.disabled:
            event.stop()
            self.unselect()
            self.prompt.focus()
            self.prompt.insert(event.character)

    def show_below(self) -> None:
        """The sign that there is text below what the reader looks at."""
        self.query_one("#below").display = not self.transcript.is_at_end and self.transcript.max_scroll_y > 0

    # --- the whole --------------------------------------------------------------------------------------------------

    def show_conversation(self) -> None:
        """What depends on which conversation is open."""
        title = printable_line(self.conversation.title, 100) if self.conversation else ""
        self.app.set_terminal_title(f"{title} · chatbot" if title else "chatbot")
        self.status.change(persona=self.persona)

    def show_state(self) -> None:
        """The empty state, and what an interrupted reply offers."""
        empty = not self.transcript.messages
        self.query_one("#welcome").display = empty and self.turn is None
        self.transcript.display = not empty
        last = self.transcript.last
        if last is not None and last.role == "assistant" and last.status in _UNFINISHED and self.turn is None:
            keys = self.keys
            self.notice.show_note(
                f"This reply {_UNFINISHED[last.status]}. "
                f"{show_keys(keys['continue_reply']) or '/continue'} continues it, "
                f"{show_keys(keys['regenerate']) or '/regenerate'} makes a new one, /drop removes it."
            )
        self.show_below()

    def _describe_start(self) -> Content:
        def line(keys: str, text: str) -> Content:
            return Content.assemble((f"  {keys:<14}", "$text-primary"), (text, "$muted"))

        shown = {name: show_keys(keys.split(",")[0]) for name, keys in self.keys.items()}
        lines = [
            Content.styled("What would you like to talk about?", "bold"),
            Content(""),
            line(shown["send"], f"sends; {show_keys(self.keys['newline'].split(',')[-1])} starts a new line"),
            line("/", "shows the commands"),
            line(shown["find_conversation"], "finds an earlier conversation"),
            line(shown["show_help"], "shows every key"),
            line(shown["quit"], "leaves; everything is kept"),
        ]
        return Content("\n").join(lines)

    async def action_show_help(self) -> None:
        from chatbot.terminal.screens.help import HelpScreen

        self.app.push_screen(HelpScreen(self.keys))

    async def action_review(self) -> None:
        """The review over the chat. What was decided there is seen here afterwards."""
        from chatbot.terminal.screens.review import ReviewScreen

        if self.manager is None:
            self.tell("The database is not open yet.")
            return
        chosen = await self.app.push_screen_wait(ReviewScreen(self.settings, self.background, over_chat=True))
        await self.refresh_conversations()
        if chosen and chosen != self.conversation_id:
            await self.open_conversation(chosen)
        else:
            await self.reload_messages()

    async def action_show_palette(self) -> None:
        self.app.action_command_palette()

    async def action_choose_persona(self, argument: str = "") -> None:
        if self.manager is None:
            return
        if not argument:
            from chatbot.terminal.screens.choose import Choose

            personas = await self.call(self.manager.personas)
            choices = [(one.name, f"{one.name}  {one.description}") for one in personas]
            argument = await self.app.push_screen_wait(Choose("Who answers?", choices, self.persona))
        if argument:
            persona = await self.call(self.manager.persona, argument)
            if self.conversation is not None:
                await self.call(self.manager.set_persona, self.conversation.id, persona.name)
            self.persona = persona.name
            self.status.change(persona=persona.name)

    async def action_choose_theme(self, argument: str = "") -> None:
        if not argument:
            from chatbot.terminal.screens.choose import Choose

            names = sorted(self.app.available_themes, key=lambda name: (not name.startswith("chatbot"), name))
            argument = await self.app.push_screen_wait(
                Choose("Which theme?", [(name, name) for name in names], self.app.theme)
            )
        if argument in self.app.available_themes:
            self.app.keep_theme(argument)
        elif argument:
            self.tell(f"There is no theme {argument}.")

    async def action_quit(self) -> None:
        await self.app.action_quit()


_LIST_LETTERS = {
    "r": "rename",
    "p": "pin",
    "a": "archive",
    "d": "delete_conversation",
    "z": "undo",
    "v": "toggle_archived",
}
