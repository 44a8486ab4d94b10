"""The token view: how probable each token of a reply was to the model, what else it could have said, and going on from
there.

The model reads the reply once; that can take seconds and is left with Esc. A continuation is a reply of its own beside
the old one.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, ClassVar

from textual.containers import Vertical
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Static

from chatbot.errors import ChatbotError
from chatbot.terminal.turn import RunningTurn
from chatbot.terminal.widgets.notices import Notice
from chatbot.terminal.widgets.review_lines import Hints, show_number
from chatbot.terminal.widgets.token_alternatives import Alternatives, describe_share, describe_text
from chatbot.terminal.widgets.tokens import IMPROBABLE, ShadedToken, ShadeLegend, TokenText
from chatbot.terminal.widgets.transcript import Transcript
from chatbot.text import printable_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual import events
    from textual.app import ComposeResult
    from textual.binding import BindingType

    from chatbot.dialogue.events import ReplyStarted
    from chatbot.dialogue.manager import Manager
    from chatbot.store.records import Message

ALTERNATIVES = 5
FRAME = 1 / 20
_WAIT = 0.7  # seconds until the state of the engine is asked for
_HINTS = [
    ("←→↑↓", "move"),
    ("n p", "next, previous improbable"),
    ("1–5", "go on from that alternative"),
    ("Tab", "choose"),
    ("Enter", "go on from it"),
    ("Esc", "back"),
]


class TokensScreen(Screen[str]):
    """Left with the id of the reply that was made from an alternative, or with nothing."""

    CSS_PATH = "review.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        ("tab", "choose(1)", "Next alternative"),
        ("shift+tab", "choose(-1)", "Previous alternative"),
        ("enter", "go_on", "Go on"),
        ("escape,q", "leave", "Leave"),
    ]

    def __init__(self, manager: Manager, reply: Message) -> None:
        super().__init__()
        self._manager = manager
        self.reply = reply
        self.texts: list[str] = []
        """The tokens as the model has them; joined they are the reply."""
        self._tops: list[Sequence[tuple[str, float]]] = []
        self.turn: RunningTurn | None = None
        self.made = ""
        """The new reply's id."""
        self._frame_pending = False
        self._shown = -1  # the token whose alternatives are shown

    def compose(self) -> ComposeResult:
        with Vertical(id="token-view"):
            yield Static(id="token-head", markup=False)
            yield ShadeLegend(id="token-legend")
            yield TokenText()
            yield Transcript()
            yield Notice()
            yield Alternatives()
            yield Hints([("Esc", "cancel")])

    @property
    def text(self) -> TokenText:
        return self.query_one(TokenText)

    @property
    def alternatives(self) -> Alternatives:
        return self.query_one(Alternatives)

    def on_mount(self) -> None:
        self.query_one(Transcript).display = False
        for name in ("#alternatives", "#token-legend"):
            self.query_one(name).display = False
        self._say("The model reads the reply…")
        self.run_worker(self._score(), group="score", exclusive=True)

    async def _score(self) -> None:
        waiting = asyncio.ensure_future(self._tell_wait())
        try:
            scores = await self._manager.score(self.reply.id, top=ALTERNATIVES)
        except ChatbotError as error:
            self._say("The tokens cannot be shown.")
            self.query_one(Notice).show_error(error)
            self.query_one(Hints).show([("Esc", "back")])
            return
        finally:
            waiting.cancel()
        self.texts = [token.token for token in scores.tokens]
        self._tops = [_add_token(token.token, token.logprob, token.top) for token in scores.tokens]
        shaded = [ShadedToken(token.token, token.logprob) for token in scores.tokens]
        self._say(_describe_scores(self.reply, scores.model, shaded))
        for name in ("#alternatives", "#token-legend"):
            self.query_one(name).display = True
        self.query_one(Hints).show(_HINTS)
        self.text.show(shaded)
        self.set_focus(self.text)
        self.text.step_improbable(1)

    async def _tell_wait(self) -> None:
        """Why it takes long: a model that has to be loaded."""
        while True:
            await asyncio.sleep(_WAIT)
            try:
                health = await self._manager.engine_health()
            except ChatbotError:
                return
            loading = health.status in {"loading", "starting"}
            self._say("The model is loading…" if loading else "The model reads the reply…")

    def _say(self, text: str | Content) -> None:
        self.query_one("#token-head", Static).update(Content.styled(text, "bold") if isinstance(text, str) else text)

    def on_token_text_moved(self, event: TokenText.Moved) -> None:
        event.stop()
        self._show_alternatives()

    def _show_alternatives(self) -> None:
        cursor = self.text.cursor
        if cursor == self._shown:
            return
        self._shown = cursor
        token = self.text.tokens[cursor]
        described = (
            f"Token {cursor + 1:,} of {len(self.texts):,}: {describe_text(token.text)}  "
            f"{describe_share(math.exp(min(0.0, token.logprob)))}  (log-probability {show_number(token.logprob)})"
        )
        self.alternatives.show(described, token.text, self._tops[cursor])

    # --- going on ---------------------------------------------------------------------------------------------------

    def on_key(self, event: events.Key) -> None:
        if not self.texts or self.turn is not None or not event.key.isdecimal():
            return
        self._show_alternatives()
        if 1 <= int(event.key) <= len(self.alternatives.choices):
            event.stop()
            self.alternatives.step(int(event.key) - 1 - self.alternatives.chosen)
            self.action_go_on()

    def action_choose(self, step: int) -> None:
        self.alternatives.step(step)

    def action_go_on(self) -> None:
        """Another reply that begins as this one does up to the cursor, and then with the alternative."""
        if self.turn is not None or not self.texts or not self.alternatives.choices:
            return
        self._show_alternatives()
        text, _ = self.alternatives.choices[self.alternatives.chosen]
        if not text:
            self._tell("With that the reply ends: nothing goes on from there.")
        elif text.endswith("\ufffd"):
            self._tell("That is a part of a character: nothing goes on from it.")
        else:
            beginning = "".join(self.texts[: self.text.cursor]) + text
            self._start(beginning)

    def _start(self, beginning: str) -> None:
        for name in ("#tokens", "#alternatives", "#token-legend"):
            self.query_one(name).display = False
        transcript = self.query_one(Transcript)
        transcript.display = True
        self.set_focus(transcript)
        self._say("Another reply, from the alternative on")
        self.query_one(Notice).hide()
        self.query_one(Hints).show([("Esc", "stop it; what was said is kept")])
        self.turn = RunningTurn(
            self._manager.branch_reply(self.reply.id, beginning),
            self.reply.conversation_id,
            on_start=lambda turn, event: self.call_later(self._show_start, turn, event),
            on_text=lambda turn, _: self._ask_frame(turn),
            on_end=lambda turn, _, failure: self.call_later(self._show_end, turn, failure),
        )

    async def _show_start(self, turn: RunningTurn, event: ReplyStarted) -> None:
        self.made = event.reply.id
        view = await self.query_one(Transcript).add(event.reply)
        view.add_class("-reviewed")
        view.grow(turn.text)
        view.wait("The model reads the reply…")
        self.query_one(Transcript).follow()

    def _ask_frame(self, turn: RunningTurn) -> None:
        if not self._frame_pending:
            self._frame_pending = True
            self.set_timer(FRAME, lambda: self._draw(turn))

    def _draw(self, turn: RunningTurn) -> None:
        self._frame_pending = False
        if turn.reply is not None and (view := self.query_one(Transcript).find(turn.reply.id)):
            view.grow(turn.text)

    def _show_end(self, turn: RunningTurn, failure: ChatbotError | None) -> None:
        if failure is None:
            self.dismiss(self.made)
            return
        if self.made:
            self._draw(turn)
        self._say("The reply broke off." if self.made else "There is no other reply.")
        self.query_one(Notice).show_error(failure)
        self.query_one(Hints).show([("Esc", "back")])

    async def action_leave(self) -> None:
        turn = self.turn
        if turn is not None and not turn.task.done():
            turn.stop()  # its end dismisses the screen
        else:
            self.dismiss(self.made)

    async def leave(self) -> ChatbotError | None:
        """Stops a reply that is being written; what was said is kept."""
        if self.turn is not None:
            self.turn.stop()
            await self.turn.finished()
        return None

    def interrupt(self) -> None:
        """Ctrl+C with nothing to copy."""
        if self.turn is not None:
            self.turn.stop()
        else:
            self._tell("Esc goes back.")

    def _tell(self, text: str) -> None:
        self.notify(text, markup=False, timeout=4)


def _add_token(token: str, logprob: float, top: Sequence[tuple[str, float]]) -> list[tuple[str, float]]:
    """The alternatives, with the token itself at the end if it is none of the most probable."""
    return [*top, *([] if any(text == token for text, _ in top) else [(token, logprob)])]


def _describe_scores(reply: Message, model: str, tokens: Sequence[ShadedToken]) -> Content:
    mean = sum(token.logprob for token in tokens) / max(1, len(tokens))
    improbable = sum(token.shade >= IMPROBABLE for token in tokens)
    seen = printable_line(model, 40)
    writer = "" if model == reply.model else ", which did not write it"
    return Content.assemble(
        (f"{len(tokens):,} tokens", "bold"),
        f", read by {seen}{writer}",
        (f" · logprob {show_number(mean)}", "$muted"),
        (f" · {improbable:,} improbable", "$muted"),
    )
