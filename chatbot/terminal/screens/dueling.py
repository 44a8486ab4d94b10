"""Blind duels within the conversation: which models, two turns at the same time, what the verdict leads to.

A duel is one turn. The prompt is said once; the reply on the left is the answer to it and the one on the right another
answer beside it, so everything that is true of alternatives is true of them. Chance decides which model is left, and
with that which begins, so neither the place nor the order tells a model.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chatbot.errors import ChatbotError, InvalidInput
from chatbot.terminal.actions import show_keys
from chatbot.terminal.screens.correcting import CorrectionActions
from chatbot.terminal.screens.judging import put_on_screen
from chatbot.terminal.turn import RunningTurn
from chatbot.text import printable_line

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from chatbot.dialogue.events import ReplyEnded, ReplyStarted, TurnEvent
    from chatbot.dialogue.manager import Manager
    from chatbot.terminal.screens.duel import DuelScreen, Place, Verdict


@dataclass(eq=False)
class Duellist:
    """One of the two."""

    place: Place
    model: str
    turn: RunningTurn | None = None
    failure: ChatbotError | None = None

    @property
    def reply_id(self) -> str | None:
        """None until its row is there."""
        return self.turn.reply.id if self.turn and self.turn.reply else None

    def __str__(self) -> str:
        return f"{self.place.capitalize()} was {printable_line(self.model, 60)}"


@dataclass(eq=False)
class Duel:
    """Two replies to one prompt, on one screen."""

    manager: Manager
    screen: DuelScreen
    prompt: str
    left: Duellist
    right: Duellist
    is_over: bool = False
    lost: ChatbotError | None = None
    """Why not even the prompt could be kept."""

    @property
    def both(self) -> tuple[Duellist, Duellist]:
        return self.left, self.right

    def stop(self) -> None:
        for one in self.both:
            if one.turn is not None:
                one.turn.stop()


class DuelActions(CorrectionActions):
    """What has to do with duels."""

    duel_models: tuple[str, str] | None = None
    """Which two answer the next prompt."""

    async def action_duel(self, argument: str = "") -> None:
        """Asks which two, or takes them from the argument; the next prompt is theirs."""
        if self.manager is None:
            self.tell("The database is not open yet.")
        elif argument.strip() == "off":
            self._call_off()
        elif self.turn is not None:
            self.tell("A reply is being written; Esc stops it.")
        elif (pair := await self._choose_models(self.manager, argument)) is not None:
            self.duel_models = pair
            one, other = (printable_line(name, 40) for name in pair)
            names = f"{one}, twice" if one == other else f"{one} and {other}"
            self.notice.show_note(f"The next prompt is a duel, without names: {names}. Esc cancels.")
            self.prompt.focus()

    async def _choose_models(self, manager: Manager, argument: str) -> tuple[str, str] | None:
        from chatbot.terminal.screens.choose import Choose

        names = await manager.models(self.persona)
        given = argument.split()
        if len(given) > 2:
            raise InvalidInput("A duel is between two models.", hint="Write /duel MODEL MODEL, or only /duel.")
        if unknown := [name for name in given if name not in names]:
            name, here = printable_line(unknown[0], 60), printable_line(", ".join(names), 200)
            raise InvalidInput(f"There is no model {name}.", hint=f"These can answer: {here}.")
        if given:
            return given[0], given[1] if len(given) == 2 else names[0]
        choices = [(name, name) for name in names]
        one = await self.app.push_screen_wait(Choose("A duel between…", choices, names[0]))
        if not one:
            return None
        default = next((name for name in names if name != one), one)
        other = await self.app.push_screen_wait(Choose(f"{one} against…", choices, default))
        return (one, other) if other else None

    def _call_off(self) -> None:
        if self.duel_models is None:
            self.tell("There is no duel.")
        else:
            self.duel_models = None
            self.notice.hide()

    async def action_stop(self) -> None:
        busy = self.completions.display or self.correction is not None or self.turn is not None
        if self.duel_models is not None and not busy:
            self._call_off()
        else:
            await super().action_stop()

    async def send(self, text: str) -> None:
        if self.duel_models is None or self.manager is None or self.turn is not None:
            await super().send(text)
            return
        models, self.duel_models = self.duel_models, None
        manager = self.manager
        self.attempt(lambda: self._fight(manager, text, models))

    # --- while it is fought -----------------------------------------------------------------------------------------

    async def _fight(self, manager: Manager, text: str, models: tuple[str, str]) -> None:
        from chatbot.terminal.screens.duel import DuelScreen

        left, right = self.draw_places(models)
        screen = DuelScreen(text, halt=lambda: duel.stop(), describe_wait=self.describe_wait)  # noqa: PLW0108
        duel = Duel(manager, screen, text, Duellist("left", left), Duellist("right", right))
        edited, self.editing, self.undoing = self.editing, None, None
        self.notice.hide()
        self.transcript.select(None)
        self.status.change(writing=True)
        self.engine_asked.set()
        if edited is None:
            events = manager.reply(self.conversation_id, text, persona=self.persona, model=left)
        else:
            events = manager.edit(edited, text, model=left)
        self._start(duel, duel.left, events, edits=edited)
        verdict = await self.app.push_screen_wait(screen)
        duel.is_over = True
        duel.stop()
        for one in duel.both:
            if one.turn is not None:
                await one.turn.finished()
        if self.leaving:
            return
        self.status.change(writing=False)
        self.engine_asked.set()
        if duel.lost is not None and duel.left.turn is not None:
            self.duel_models = models
            await self.show_failure(duel.left.turn, duel.lost, here=True)
        else:
            self.attempt(lambda: self._settle(duel, verdict))

    @staticmethod
    def draw_places(models: tuple[str, str]) -> tuple[str, str]:
        """Which is left and which is right, by chance."""
        one, other = models
        return (one, other) if secrets.randbelow(2) else (other, one)

    def _start(
        self, duel: Duel, one: Duellist, events: AsyncGenerator[TurnEvent, None], edits: str | None = None
    ) -> None:
        one.turn = RunningTurn(
            events,
            self.conversation_id,
            prompt=duel.prompt,
            edits=edits,
            known=frozenset(message.id for message in self.transcript.messages),
            on_start=lambda _, event: self._begin_other(duel, one, event),
            on_text=lambda turn, _: duel.screen.grow(one.place, turn.text),
            on_end=lambda turn, ended, failure: self._take_end(duel, one, turn, ended, failure),
        )
        self.turns[str(id(one.turn))] = one.turn

    def _begin_other(self, duel: Duel, one: Duellist, event: ReplyStarted) -> None:
        """As soon as the left one has begun, so that the prompt is said once."""
        self.adopt_conversation(event.reply)
        if one is duel.left and event.user is not None and not duel.is_over:
            self._start(duel, duel.right, duel.manager.regenerate(event.user.id, model=duel.right.model))

    def _take_end(
        self, duel: Duel, one: Duellist, turn: RunningTurn, ended: ReplyEnded | None, failure: ChatbotError | None
    ) -> None:
        self.turns = {name: other for name, other in self.turns.items() if other is not turn}
        one.failure = failure
        self.call_later(self._show_side, duel, one, ended, failure)

    async def _show_side(
        self, duel: Duel, one: Duellist, ended: ReplyEnded | None, failure: ChatbotError | None
    ) -> None:
        if duel.is_over or self.leaving:
            return
        try:
            reply = ended.reply if ended else None
            if reply is None and one.reply_id:
                reply = await self.call(duel.manager.store.messages.get, one.reply_id)
            if one is duel.left and one.reply_id is None:
                await self._begin_without_left(duel)
            if not duel.is_over:
                duel.screen.end(one.place, reply, failure.message if failure else "")
        except ChatbotError as error:
            duel.screen.end(one.place, None, error.message)

    async def _begin_without_left(self, duel: Duel) -> None:
        """The left one failed or was stopped before it began. If the prompt was kept, the right one answers it."""
        turn, failure = duel.left.turn, duel.left.failure
        assert turn is not None
        await self.attempt_reload()
        if await self._is_kept(turn):
            user = self.transcript.last
            if user is not None and not duel.is_over and not turn.stopped:
                self._start(duel, duel.right, duel.manager.regenerate(user.id, model=duel.right.model))
                return
        elif failure is not None:
            duel.lost = failure
        if not duel.is_over:
            duel.screen.dismiss("open")

    # --- what comes of it -------------------------------------------------------------------------------------------

    async def _settle(self, duel: Duel, verdict: Verdict) -> None:
        """Keeps the verdict, puts the reply that stays on screen, and says which model was which."""
        left, right = duel.both
        if self.conversation is None and left.turn is not None:
            await self._is_kept(left.turn)
        stays, other = (right, left) if verdict == "right" else (left, right)
        if left.failure is not None and right.failure is None:
            stays, other = right, left
        said = await self._keep(duel, verdict, stays, other)
        await self.reload_messages()
        self.transcript.follow()
        if (last := self.transcript.last) and last.role == "assistant":
            self.status.change(model=last.model)
            self.status.take_generation(last.generation)
        if not any(one.failure for one in duel.both):
            self.trouble = ""
            self.notice.show_note(said)
        elif all(one.failure for one in duel.both):
            assert stays.failure is not None
            self.fail(stays.failure, self._retry_reply)
        else:
            failed = next(one for one in duel.both if one.failure)
            assert failed.failure is not None
            self.notice.show_error(failed.failure)
            self.tell(f"{failed} and failed; the other reply stays.", severity="error")
        await self.refresh_conversations()

    async def _keep(self, duel: Duel, verdict: Verdict, stays: Duellist, other: Duellist) -> str:
        """What the verdict does in the store, all of it at once; returns it in words."""
        store, author = duel.manager.store, self.settings.review.signature
        reply_id, other_id = stays.reply_id, other.reply_id
        if reply_id is None or other_id is None:
            return ""
        decided = verdict in {"left", "right"}

        def keep() -> None:
            if decided:
                store.judgements.prefer(reply_id, [other_id], author=author)
            put_on_screen(store, reply_id, in_place_of=other_id)
            if verdict == "neither":
                # Beside each other, going on from the one would say that it is better.
                store.tree.drop(other_id)

        def bring_back() -> None:
            store.tree.restore_turn([other_id])
            put_on_screen(store, reply_id, in_place_of=other_id)

        async def undo() -> None:
            await self.call(bring_back)
            await self.reload_messages()

        await self.call(keep)
        if decided:
            won, lost = printable_line(stays.model, 60), printable_line(other.model, 60)
            self.tell(f"{won} is preferred: a pair for the next preference training.")
            return f"{stays.place.capitalize()} won: {won} is preferred to {lost}."
        if verdict == "neither":
            self.undoing = undo
            undo_keys = show_keys(self.keys["undo"]) or "/undo"
            return f"Nothing is recorded. {stays}. {other}; {undo_keys} brings it back."
        return f"Left open. {stays}. {other}."
