"""A blind duel: two replies to one prompt side by side, and a key that says which is better.

The screen knows no names, so it can show none. It tells which key was pressed and asks for nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar, Literal

from textual.containers import Container, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Static

from chatbot.store.records import Message
from chatbot.terminal.screens.turns import FRAME
from chatbot.terminal.widgets.message import MessageView
from chatbot.text import printable_line

if TYPE_CHECKING:
    from textual.app import ComposeResult
    from textual.binding import BindingType

Place = Literal["left", "right"]
Verdict = Literal["left", "right", "neither", "open"]
"""`open`: nobody decided."""
_PROMPT_LENGTH = 300  # characters that remind of what was asked


class Side(Vertical):
    """One reply as it grows, under its number."""

    def __init__(self, place: Place) -> None:
        super().__init__(id=place, classes="side")
        self.place = place
        self.number = 1 if place == "left" else 2
        self.text = ""
        self.has_ended = False
        self.has_failed = False
        self._reply: Message | None = None  # as it stays
        now = datetime.now(UTC)
        self.view = MessageView(Message(place, "", None, "assistant", "", "streaming", now))

    def compose(self) -> ComposeResult:
        yield Static(classes="side-title")
        with VerticalScroll(classes="side-text", can_focus=False):
            yield self.view

    def on_mount(self) -> None:
        self.show_title()

    @property
    def scroller(self) -> VerticalScroll:
        return self.query_one(VerticalScroll)

    @property
    def has_begun(self) -> bool:
        return bool(self.text) or self.has_ended

    def end(self, reply: Message | None, failure: str) -> None:
        """The reply as it stays; None if it did not even begin."""
        self.has_ended, self.has_failed = True, bool(failure)
        known = reply or self.view.message
        status = "failed" if failure else "stopped" if known.status == "streaming" else known.status
        reason = failure or known.finish_reason
        self._reply = replace(known, status=status, finish_reason=reason, sibling=1, siblings=1, rating=0)

    def draw(self) -> None:
        """Shows what there is, and follows its end unless the reader has scrolled away from it."""
        follows = self.scroller.scroll_y >= self.scroller.max_scroll_y - 1
        if self._reply is None:
            self.view.grow(self.text)
        elif self.view.message is not self._reply:
            self.view.set_message(self._reply)
            self.show_title()
        if follows:
            self.scroller.scroll_end(animate=False)

    def show_title(self) -> None:
        title = Content.styled(f" {self.number} ", "bold $block-cursor-foreground on $block-cursor-background")
        if self._reply is None:
            title += Content.styled("  writing", "$muted")
        self.query_one(".side-title", Static).update(title)


class DuelScreen(Screen[Verdict]):
    """Shows both replies until one key decides."""

    CSS_PATH = "duel.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        ("left,1", "decide('left')", "The left one is better"),
        ("right,2", "decide('right')", "The right one is better"),
        ("0,equals_sign", "decide('neither')", "Neither is better"),
        ("s", "halt", "Stop both"),
        ("escape", "dismiss('open')", "Leave"),
        ("enter", "go_on", "Go on after a failure"),
        ("up", "scroll_both(-1)", "Scroll up"),
        ("down", "scroll_both(1)", "Scroll down"),
        ("pageup", "scroll_both(-10)", "Scroll far up"),
        ("pagedown", "scroll_both(10)", "Scroll far down"),
    ]

    def __init__(self, prompt: str, *, halt: Callable[[], None], describe_wait: Callable[[], str]) -> None:
        """`halt` stops the replies that are being written; `describe_wait` says what the first words wait for."""
        super().__init__()
        self.HORIZONTAL_BREAKPOINTS = [(0, "-stacked"), (80, "-beside")]
        self._prompt = prompt
        self._halt = halt
        self._describe_wait = describe_wait
        self._frame_pending = False
        self.left, self.right = Side("left"), Side("right")

    @property
    def sides(self) -> tuple[Side, Side]:
        return self.left, self.right

    def compose(self) -> ComposeResult:
        prompt = Content.assemble(("┃ ", "$primary"), printable_line(self._prompt, _PROMPT_LENGTH))
        yield Static(prompt, id="duel-prompt")
        with Container(id="sides"):
            yield from self.sides
        yield Static(id="duel-hint")

    def on_mount(self) -> None:
        self.show_hint()
        self._show_wait()
        self.set_interval(0.5, self._show_wait)

    def _show_wait(self) -> None:
        for side in self.sides:
            side.view.wait(self._describe_wait())

    def grow(self, place: Place, text: str) -> None:
        """All that the reply holds so far; drawn with the next frame."""
        self.side(place).text = text
        if not self._frame_pending:
            self._frame_pending = True
            self.set_timer(FRAME, self._draw_frame)

    def end(self, place: Place, reply: Message | None, failure: str = "") -> None:
        """A reply has ended; `failure` says why if it failed."""
        self.side(place).end(reply, failure)
        self._draw()
        self.show_hint()

    def side(self, place: Place) -> Side:
        return self.left if place == "left" else self.right

    @property
    def can_be_decided(self) -> bool:
        return all(side.has_ended and not side.has_failed for side in self.sides)

    def show_hint(self) -> None:
        self.query_one("#duel-hint", Static).update(self._describe_keys())

    def _describe_keys(self) -> Content:
        if not all(side.has_ended for side in self.sides):
            return _list_keys(("", "● writing"), ("s", "stops both"), ("Esc", "leaves"))
        failed = [side for side in self.sides if side.has_failed]
        if len(failed) == 2:
            return _list_keys(("", "Both failed"), ("Enter", "goes on"))
        if failed:
            return _list_keys(("", f"{failed[0].number} failed, {3 - failed[0].number} stays"), ("Enter", "goes on"))
        keys = _list_keys(("← 1", "left"), ("→ 2", "right"), ("0", "neither"), ("Esc", "leaves it open"))
        return Content.styled("Which is better?  ", "bold") + keys

    def _draw_frame(self) -> None:
        began = time.perf_counter()
        self._draw()
        cost = time.perf_counter() - began
        self._frame_pending = 3 * cost > FRAME
        if self._frame_pending:
            self.set_timer(3 * cost, self._draw_frame)

    def _draw(self) -> None:
        """Not before both have begun: the model that was loaded already would be known by its early start."""
        if all(side.has_begun for side in self.sides):
            for side in self.sides:
                side.draw()

    def action_decide(self, verdict: Verdict) -> None:
        if self.can_be_decided:
            self.dismiss(verdict)
        elif not all(side.has_ended for side in self.sides):
            self.notify("Both must have ended; s stops them.", markup=False)

    def action_go_on(self) -> None:
        if all(side.has_ended for side in self.sides) and not self.can_be_decided:
            self.dismiss("open")

    def action_halt(self) -> None:
        self._halt()

    def action_scroll_both(self, rows: int) -> None:
        for side in self.sides:
            side.scroller.scroll_relative(y=rows, animate=False)


def _list_keys(*keys: tuple[str, str]) -> Content:
    parts = [Content.assemble((key, "$text-primary"), " " if key else "", (text, "$muted")) for key, text in keys]
    return Content.styled(" · ", "$muted").join(parts)
