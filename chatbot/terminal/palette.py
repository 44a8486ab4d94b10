"""What the command palette finds beside the actions: conversations, personas and themes by name.

Names are foreign text, so what matches is marked on plain Content; Textual's own `Matcher.highlight` parses markup.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import TYPE_CHECKING, cast

from textual.command import Hit, Hits, Provider
from textual.content import Content

from chatbot.terminal.screens.chat import ChatScreen
from chatbot.terminal.themes import THEMES
from chatbot.text import printable_line

if TYPE_CHECKING:
    from chatbot.terminal.app import ChatApp


class ChatCommands(Provider):
    """Conversations, personas and themes."""

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        async for shown, help_text, run in self._list_all(query):
            if (score := matcher.match(shown)) > 0:
                yield Hit(score, Content(shown), run, text=shown, help=help_text)

    async def _list_all(self, query: str) -> AsyncIterator[tuple[str, str, Callable[[], object]]]:
        app = cast("ChatApp", self.app)
        screen = app.screen_stack[0]
        if not isinstance(screen, ChatScreen):
            return
        for theme in (ours.name for ours in THEMES):  # Textual's twenty would bury what is looked for; /theme has them
            yield f"Theme: {theme}", "", partial(app.keep_theme, theme)
        if (manager := screen.manager) is None:
            return
        for persona in await screen.call(manager.personas):
            shown = printable_line(f"Persona: {persona.name}", 100)
            yield shown, "", partial(screen.call_later, screen.action_perform, "choose_persona", persona.name)
        for conversation in await screen.call(manager.conversations, text=query, limit=20):
            shown = printable_line(conversation.title, 100) or "New conversation"
            yield shown, "Open this conversation", partial(screen.call_later, screen.open_in_turn, conversation.id)
