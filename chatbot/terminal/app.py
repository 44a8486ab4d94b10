"""The Textual application: themes, keys, the clipboard, the palette; the chat itself is `screens/chat.py`.

What is imported on the way to the first frame is Textual, the settings and `text`, no more: the database, the dialogue
and HTTP follow in a thread while the prompt echoes keys already.
"""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from textual.app import App, SystemCommand
from textual.color import Color

from chatbot.config import Home, Settings
from chatbot.errors import ChatbotError
from chatbot.terminal import clipboard, state
from chatbot.terminal.actions import ACTIONS, resolve_keys
from chatbot.terminal.background import Background
from chatbot.terminal.screens.chat import ChatScreen
from chatbot.terminal.themes import THEMES
from chatbot.text import printable_line

if TYPE_CHECKING:
    from textual.command import Provider
    from textual.screen import Screen

    from chatbot.dialogue.manager import Manager


_REVIEW_SHEET = Path(__file__).parent / "screens" / "review.tcss"


@runtime_checkable
class Leavable(Protocol):
    """A screen with something to be done before it goes."""

    async def leave(self) -> ChatbotError | None:
        """Returns what is to be said afterwards."""
        ...

    def interrupt(self) -> None:
        """Ctrl+C with nothing to copy."""
        ...


def run_chat(
    settings: Settings,
    home: Home,
    *,
    conversation: str | None = None,
    latest: bool = False,
    open_manager: Callable[[], Manager] | None = None,
) -> int:
    """Opens the chat and returns the exit code when the user leaves it.

    `conversation` is an id or the beginning of one; `latest` opens the newest. `open_manager` takes the place of
    `chatbot.dialogue.opening.open_manager(settings, home)`, for tests and for other engines. Raises ChatbotError, after
    the screen is gone, if the database could not be opened or what stood in the prompt could not be kept.
    """
    return _run(ChatApp(settings, home, conversation=conversation, latest=latest, open_manager=open_manager))


def run_review(
    settings: Settings, home: Home, *, filter_line: str = "", open_manager: Callable[[], Manager] | None = None
) -> int:
    """Opens the review alone, over the replies that `filter_line` means, and returns the exit code when it is left.
    Raises ChatbotError, after the screen is gone, for what went wrong last."""
    return _run(ChatApp(settings, home, review=filter_line, open_manager=open_manager))


def _run(app: ChatApp) -> int:
    gc.disable()  # what is made on the way to the first frame stays; the first screen turns it on again
    app.run()
    if app.failure is not None:
        raise app.failure
    return app.return_code or 0


def _list_providers() -> type[Provider]:
    from chatbot.terminal.palette import ChatCommands

    return ChatCommands


class ChatApp(App[None]):
    """The application around the chat screen, or around the review."""

    TITLE = "chatbot"
    CSS_PATH = Path(__file__).parent / "screens" / "chat.tcss"  # here: a default screen's own sheet is not loaded
    ENABLE_COMMAND_PALETTE = True
    COMMAND_PALETTE_BINDING = "f24"  # ours is remappable, see ACTIONS
    COMMANDS: ClassVar[set[Any]] = App.COMMANDS | {_list_providers}
    BINDINGS: ClassVar[list[Any]] = []

    def __init__(
        self,
        settings: Settings,
        home: Home,
        *,
        conversation: str | None = None,
        latest: bool = False,
        review: str | None = None,
        open_manager: Callable[[], Manager] | None = None,
    ) -> None:
        """`review` opens the review in place of the chat, over the replies that this filter means."""
        super().__init__(css_path=[self.CSS_PATH, _REVIEW_SHEET] if review is not None else None)
        self.HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (92, "-wide")]
        self.VERTICAL_BREAKPOINTS = [(0, "-short"), (16, "-tall")]
        self.settings = settings
        self.home = home
        self._wanted = conversation
        self._latest = latest
        self._review = review
        self.keys, self.problems = resolve_keys(settings.terminal.keys)
        self.background = Background(open_manager or self._open_manager)
        self._title_set = False
        self.failure: ChatbotError | None = None
        self._choose_theme()

    def _open_manager(self) -> Manager:
        from chatbot.dialogue.opening import open_manager

        return open_manager(self.settings, self.home)

    def get_default_screen(self) -> Screen[Any]:
        if self._review is not None:
            from chatbot.terminal.screens.review import ReviewScreen

            return ReviewScreen(self.settings, self.background, self._review, over_chat=False)
        return ChatScreen(self.settings, self.background, self.keys, self.settings.persona)

    def _choose_theme(self) -> None:
        """Before the first frame, or the style sheets would be read twice."""
        for ours in THEMES:
            self.register_theme(ours)
        theme = state.read_theme(self.home) or self.settings.terminal.theme
        if theme not in self.available_themes:
            self.problems.append(f"There is no theme “{printable_line(theme, 40)}”; /theme lists them.")
            theme = THEMES[0].name
        self._first_theme = theme
        if not self.available_themes[theme].ansi:
            self.set_reactive(App.theme, theme)
            self.stylesheet.set_variables(self.get_css_variables())

    def get_css_variables(self) -> dict[str, str]:
        """Textual's own, and `muted`: a colour for what matters less that can also be used within a text."""
        variables = super().get_css_variables()
        muted = "ansi_bright_black"
        if not self.current_theme.ansi:
            foreground, background = Color.parse(variables["foreground"]), Color.parse(variables["background"])
            muted = foreground.blend(background, 0.45).hex
        return {"muted": muted, **variables}

    def on_mount(self) -> None:
        self.theme = self._first_theme
        self.set_keymap(self.keys)

    async def on_app_focus(self) -> None:
        """The reader is back; meanwhile other programs may have kept conversations."""
        screen = self.screen_stack[0]
        if isinstance(screen, ChatScreen) and screen.manager is not None:
            await screen.look_at_conversations()

    async def find_wanted(self, manager: Manager) -> str | None:
        """The conversation to begin with; asked once."""
        wanted, self._wanted = self._wanted, None
        if wanted is not None:
            found = await self.background.call(manager.find_conversation, wanted)
            return found.id
        if self._latest:
            self._latest = False
            latest = await self.background.call(manager.latest_conversation)
            return latest.id if latest else None
        return None

    def keep_theme(self, name: str) -> None:
        """Changes the theme, now and for later starts."""
        self.theme = name
        with contextlib.suppress(OSError):  # a full disk keeps nobody from reading in the light
            state.write_theme(self.home, name)

    def copy_to_clipboard(self, text: str) -> None:
        self._clipboard = text
        driver = self._driver
        if driver is not None:
            clipboard.copy(text, driver.write, os.environ)

    def set_terminal_title(self, title: str) -> None:
        """Names the terminal's window; the name it had comes back at the end, where the terminal keeps it."""
        if self._driver is None or self.is_headless:
            return
        save = "" if self._title_set else "\x1b[22;2t"
        self._title_set = True
        self._driver.write(f"{save}\x1b]2;{printable_line(title, 120)}\x07")

    async def action_quit(self) -> None:
        """Leaves: running replies are stopped and keep their text, the draft is saved, the review is closed. What a
        correction has changed is asked about first."""
        chat = self.screen_stack[0]
        if isinstance(chat, ChatScreen) and not await chat.leave_correction():
            return
        for screen in reversed(self.screen_stack):
            if isinstance(screen, Leavable):
                self.failure = await screen.leave() or self.failure
        await self.background.close()
        if self._title_set and self._driver is not None:
            self._driver.write("\x1b[23;2t")
        self.exit()

    def action_help_quit(self) -> None:
        """Ctrl+C without a selection: people expect it to leave or to stop."""
        screen = self.screen
        if isinstance(screen, Leavable):
            screen.interrupt()

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        if not isinstance(screen, ChatScreen):
            return
        for action in ACTIONS:
            if action.name not in {"send", "newline", "show_palette"}:
                yield SystemCommand(
                    action.title, f"/{action.slash}" if action.slash else "", self._make_command(screen, action.name)
                )

    @staticmethod
    def _make_command(screen: ChatScreen, name: str) -> Callable[[], None]:
        def run() -> None:
            screen.call_later(screen.action_perform, name)

        return run
