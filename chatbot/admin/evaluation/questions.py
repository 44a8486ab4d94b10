"""What is asked of both models: the prompts of the held-out part, each with the answer that a person approved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from chatbot.admin.datasets.items import Item, PreferenceItem, SftItem, Turn
from chatbot.admin.rendering import TrainingRow, render_row
from chatbot.models.template import ChatTemplate


class Grouped(Protocol):
    """A question, or an item of a dataset."""

    @property
    def group(self) -> str: ...


_One = TypeVar("_One", bound=Grouped)


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt and the answer that a person approved."""

    turns: tuple[Turn, ...]
    answer: str
    group: str
    """Of its item: what is of one group is no independent witness."""

    @property
    def prompt(self) -> str:
        return self.turns[-1].content


def list_questions(items: Sequence[Item]) -> list[Question]:
    """The last learnt reply of each item with all that stands before it; of a pair, the better reply; of judged
    replies the good ones."""
    questions = []
    for item in items:
        if isinstance(item, SftItem):
            place = max((place for place, turn in enumerate(item.turns) if turn.learn), default=0)
            if place:
                questions.append(Question(item.turns[:place], item.turns[place].content, item.group))
        elif isinstance(item, PreferenceItem):
            questions.append(Question(item.turns, item.chosen, item.group))
        elif item.good:
            questions.append(Question(item.turns, item.reply, item.group))
    return questions


def choose_evenly(ones: Sequence[_One], most: int) -> list[_One]:
    """At most so many, in their order: one of each group, then another of each, and in the last round from all over the
    list. A long talk is one group, and must not take the place of others."""
    rounds: dict[int, list[int]] = {}
    seen: Counter[str] = Counter()
    for place, one in enumerate(ones):
        rounds.setdefault(seen[one.group], []).append(place)
        seen[one.group] += 1
    chosen: list[int] = []
    for places in rounds.values():
        count = min(len(places), most - len(chosen))
        chosen += [places[number * len(places) // count] for number in range(count)]
    return [ones[place] for place in sorted(chosen)]


def render_answer(template: ChatTemplate, turns: Sequence[Turn], answer: str) -> TrainingRow:
    """The row in which only `answer` is learnt."""
    context = [turn.model_copy(update={"learn": False}) for turn in turns]
    return render_row(template, [*context, Turn(role="assistant", content=answer, learn=True)])
