"""No row is longer than the training can hold, and none is cut inside a reply.

Trainers cut what is too long without a word, and then the reply's end is missing: the model learns not to stop. So
rows are measured here, as they will be rendered, and cut only where a turn ends and a prompt begins; what does not fit
even so is left out and counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from chatbot.admin.datasets.drafts import Draft
from chatbot.admin.datasets.items import Turn
from chatbot.admin.datasets.request import LengthPolicy
from chatbot.errors import InvalidInput, ModelRefused
from chatbot.models.template import ChatTemplate

TOO_LONG = "too long"
_CHARACTERS = 8
"""Of context no more than so many characters for each token of the limit are tried: they would not fit anyway."""
_SLACK = 64  # tokens by which a conversation and its row may differ: the beginning of another reply
_FEW = 2
_MOST_CHARACTERS = 64  # for each token; text that is longer than that is too long without being measured


@dataclass(frozen=True, slots=True)
class Measured:
    """A draft with the tokens of its longest row, and how many of all its rows' tokens are learnt."""

    draft: Draft
    tokens: int
    learnt: int


class Ruler:
    """Measures and fits drafts. `left_out` and `split` count what was lost and what was cut in parts."""

    def __init__(self, template: ChatTemplate, most: int, policy: LengthPolicy, left_out: Counter[str]) -> None:
        self._template = template
        self._most = most
        self._policy = policy
        self._left_out = left_out
        self.split = 0
        """Drafts that became several, or lost the oldest of their context."""

    def fit(self, draft: Draft) -> Iterator[Measured]:
        """The draft, or its parts. Raises InvalidInput if it is too long and the policy is to fail."""
        try:
            whole = self._measure_if_short(draft)
            if whole is not None:
                yield whole
                return
            if self._policy == "fail":
                raise InvalidInput(
                    f"An item of {draft.source} has more than {self._most:,} tokens: {draft.prompt[:60]!r}.",
                    hint="Allow more with --max-tokens, or choose --long split or drop.",
                )
            if self._policy == "drop":
                self._left_out[TOO_LONG] += _count_replies(draft)
                return
            parts = list(self._cut(draft) if draft.kind == "sft" else self._shorten(draft))
        except ModelRefused:
            self._left_out["the model's template refuses it"] += _count_replies(draft)
            return
        self.split += bool(parts)
        self._left_out[TOO_LONG] += _count_replies(draft) - sum(_count_replies(part.draft) for part in parts)
        yield from parts

    def _cut(self, draft: Draft) -> Iterator[Measured]:
        """Parts of a branch, each reply learnt in one of them, each with the turns before it that fit."""
        units = _list_units(draft.turns)
        part: list[Sequence[int]] = []
        for unit in units:
            part = part if _learns(draft, part) else self._bound(draft, part)
            while part and not self._fits(_take(draft, [*part, unit])):
                if _learns(draft, part):
                    yield from self._finish(draft, part)
                    part = []
                else:
                    part.pop(0)
            if part or self._fits(_take(draft, [unit])):
                part.append(unit)
        if _learns(draft, part):
            yield from self._finish(draft, part)

    def _shorten(self, draft: Draft) -> Iterator[Measured]:
        """The same reply or replies below as much of the context as fits."""
        units = self._bound(draft, _list_units(draft.turns))
        while units:
            measured = self._measure_if_short(_take(draft, units))
            if measured is not None:
                yield measured
                return
            units = units[1:]

    def _bound(self, draft: Draft, units: Sequence[Sequence[int]]) -> list[Sequence[int]]:
        """The newest of them that may fit at all; always one."""
        kept: list[Sequence[int]] = []
        left = self._most * _CHARACTERS
        for unit in reversed(units):
            left -= sum(len(draft.turns[place].content) for place in unit)
            if left < 0 and kept:
                break
            kept.append(unit)
        return kept[::-1]

    def _finish(self, draft: Draft, part: Sequence[Sequence[int]]) -> Iterator[Measured]:
        measured = self._measure_if_short(_take(draft, part))
        if measured is not None:
            yield measured

    def _fits(self, draft: Draft) -> bool:
        """Whether a branch is short enough, nearly always by one look in place of one for each reply in it."""
        count = self._template.count([turn.message for turn in draft.turns])
        if abs(count - self._most) > _SLACK:
            return count < self._most
        return self._measure_if_short(draft) is not None

    def _measure_if_short(self, draft: Draft) -> Measured | None:
        """None if it is longer than allowed."""
        from chatbot.admin.rendering import render_rows

        draft = _trim(draft)
        characters = sum(len(turn.content) for turn in draft.turns) + sum(map(len, draft.answers))
        if characters > self._most * _MOST_CHARACTERS:
            return None
        # Rendering looks at the whole once for each reply: where there are many, one look says whether to begin.
        many = sum(turn.learn for turn in draft.turns) > _FEW
        if many and self._template.count([turn.message for turn in draft.turns]) > self._most + _SLACK:
            return None
        rows = [row for turns in list_conversations(draft) for row in render_rows(self._template, turns)]
        longest = max((len(row.tokens) for row in rows), default=0)
        if longest > self._most:
            return None
        return Measured(draft, longest, sum(sum(row.learned) for row in rows))


def list_conversations(draft: Draft) -> Iterator[Sequence[Turn]]:
    """What is rendered: the turns of SFT, or the turns with each of the replies below them."""
    if draft.kind == "sft":
        yield draft.turns
        return
    for answer in draft.answers:
        yield [*draft.turns, Turn(role="assistant", content=answer, learn=True)]


def measure_all(
    drafts: Sequence[Draft], ruler: Ruler, on_item: Callable[[], object] = lambda: None
) -> tuple[list[Measured], list[int]]:
    """The parts of all drafts, and for each the number of the draft it is a part of."""
    measured: list[Measured] = []
    origins: list[int] = []
    for number, draft in enumerate(drafts):
        for part in ruler.fit(draft):
            measured.append(part)
            origins.append(number)
        on_item()
    return measured, origins


def _list_units(turns: Sequence[Turn]) -> list[Sequence[int]]:
    """The places of the turns from each prompt to the next; what stands above the first prompt has no unit."""
    units: list[list[int]] = []
    for place, turn in enumerate(turns):
        if turn.role == "user":
            units.append([place])
        elif turn.role == "assistant" and units:
            units[-1].append(place)
    return list(units)


def _take(draft: Draft, units: Sequence[Sequence[int]]) -> Draft:
    """The draft with these units below its system prompt."""
    system = [place for place, turn in enumerate(draft.turns[:1]) if turn.role == "system"]
    return draft.keep([*system, *(place for unit in units for place in unit)])


def _trim(draft: Draft) -> Draft:
    """Without what stands below the last reply that is learnt."""
    if draft.kind != "sft":
        return draft
    last = max((place for place, turn in enumerate(draft.turns) if turn.learn), default=-1)
    return draft.keep(range(last + 1)) if last + 1 < len(draft.turns) and last >= 0 else draft


def _learns(draft: Draft, units: Sequence[Sequence[int]]) -> bool:
    return any(draft.turns[place].learn for unit in units for place in unit)


def _count_replies(draft: Draft) -> int:
    return sum(turn.learn for turn in draft.turns) if draft.kind == "sft" else 1
