"""Whether the answers of the data belong to their prompts, told from how likely they are.

A true answer is likelier after its own prompt than after another one (pointwise mutual information). So each answer is
laid behind some other prompts, and it is counted how often its own wins. If the answers were shuffled, the own prompt
is one like any other, and it wins in half of all cases, whatever the model, the language and the length of the answers:
hence wins are counted and no nats, of which a long answer has few for each token and a sound set of short, alike
answers not many more than a shuffled one.

A prompt that asks the same in other words would be no other prompt, and an answer that would do for both is no
witness: those are passed over. The base model is asked, which has seen none of the data and so may be asked about all
of it; where it sees nothing, since it may not know the subject, the candidate is, about what was held out. None can
learn from shuffled data what is not in it.

Where all prompts of the data are alike, they may ask for one thing in many words or for many things in one form ("What
is the capital of …?"). So the other prompts are then those of the data that are a little unlike, and if nothing is seen
there, those of the general suite: an answer that belongs at least among these prompts is not called spoiled. About
those only the base model is asked: the candidate may have learnt any answer together with the kind of prompt.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import islice
from typing import TypeVar

from chatbot.admin.datasets.deduplication import SAME_PROMPT
from chatbot.admin.datasets.items import Turn
from chatbot.admin.datasets.similarity import cut_shingles, measure_similarity
from chatbot.admin.evaluation.bench import Bench
from chatbot.admin.evaluation.measuring import CANDIDATE
from chatbot.admin.evaluation.questions import Question, choose_evenly, render_answer
from chatbot.admin.evaluation.records import Fit
from chatbot.admin.evaluation.statistics import mean_interval
from chatbot.admin.rendering import TrainingRow

BASE = "base"
"""On the bench: without any adapter."""
PARTNERS = 4
"""Other prompts that each answer is laid behind."""
MOST = 48
"""Answers that are asked about: as many tell all that the gate wants to know."""
_UNLIKE_PROMPT = 0.3  # Jaccard, below which two prompts do not ask the same
_UNLIKE_ANSWER = 0.6

_One = TypeVar("_One")
Laid = tuple[Question, list[tuple[Turn, ...]]]
"""A question, and the turns of others that its answer is laid behind."""


def measure_fit(
    bench: Bench,
    questions: Sequence[Question],
    *,
    data: Sequence[Question] | None = None,
    elsewhere: Sequence[str],
    fewest: int,
    on_progress: Callable[[int], None] = lambda _: None,
) -> Fit | None:
    """The share of wins, by the model that sees more of a fit. The base model is asked about all of the `data`, which
    it has never seen, the candidate about what was held out, the `questions`. `elsewhere` are prompts that have nothing
    to do with the data; they are no substitute for prompts of the data that are there but too long. None if it cannot
    be asked of answers of `fewest` groups."""
    data = questions if data is None else data
    lost = False
    for unlike in (_UNLIKE_PROMPT, SAME_PROMPT):
        laid = choose_partners(data, unlike)
        fit = _ask(bench, laid, BASE, fewest, on_progress)
        if fit is None or fit.interval.low <= Fit.CHANCE:
            own = _ask(bench, choose_partners(questions, unlike), CANDIDATE, fewest, on_progress)
            fit = max((one for one in (fit, own) if one), key=lambda one: one.interval.low, default=None)
        if fit is not None and (unlike == _UNLIKE_PROMPT or fit.interval.low > Fit.CHANCE):
            return fit
        lost = lost or (fit is None and len({question.group for question, _ in laid}) >= fewest)
    if fit is None and lost:
        return None
    around = _ask(bench, choose_elsewhere(data, elsewhere), BASE, fewest, on_progress)
    return replace(fit, alike=True) if fit and around and around.interval.low > Fit.CHANCE else around


def _ask(
    bench: Bench,
    laid: Sequence[Laid],
    side: str,
    fewest: int,
    on_progress: Callable[[int], None],
) -> Fit | None:
    rows, groups = _render(bench, laid)
    return _count_wins(bench, side, rows, groups, on_progress) if len(set(groups)) >= fewest else None


def choose_partners(questions: Sequence[Question], unlike: float = _UNLIKE_PROMPT) -> list[Laid]:
    """At most MOST of the questions, evenly chosen, each with up to PARTNERS others of another group that ask something
    else and are answered otherwise. A question without any is left out."""
    cut = lru_cache(maxsize=None)(cut_shingles)

    def differ(one: Question, other: Question) -> bool:
        return (
            one.group != other.group
            and measure_similarity(cut(one.prompt), cut(other.prompt)) < unlike
            and measure_similarity(cut(one.answer), cut(other.answer)) < _UNLIKE_ANSWER
        )

    return _lay(questions, lambda one: (other.turns for other in _mix(one, questions) if differ(one, other)))


def choose_elsewhere(questions: Sequence[Question], prompts: Sequence[str]) -> list[Laid]:
    """The same with prompts that have nothing to do with the data, each in place of the question's own."""

    def find(one: Question) -> Iterable[tuple[Turn, ...]]:
        own = cut_shingles(one.prompt)
        for prompt in _mix(one, prompts):
            if measure_similarity(own, cut_shingles(prompt)) < _UNLIKE_PROMPT:
                yield (*one.turns[:-1], Turn(role="user", content=prompt))

    return _lay(questions, find)


def _lay(questions: Sequence[Question], find: Callable[[Question], Iterable[tuple[Turn, ...]]]) -> list[Laid]:
    laid = [(one, list(islice(find(one), PARTNERS))) for one in choose_evenly(questions, MOST)]
    return [(one, others) for one, others in laid if others]


def _mix(one: Question, others: Sequence[_One]) -> list[_One]:
    """In an order of the question's own: neighbours may be of one kind, and each should serve as often as any other."""
    return random.Random(one.prompt).sample(others, len(others))


def _render(bench: Bench, laid: Sequence[Laid]) -> tuple[list[list[TrainingRow]], list[str]]:
    """The rows of each answer, the one behind its own prompt first; and the group of each. A prompt behind which the
    answer is longer than the model's window is left out, and an answer that then stands behind one or none."""
    rows, groups = [], []
    for question, others in laid:
        own, *found = (render_answer(bench.template, turns, question.answer) for turns in (question.turns, *others))
        fitting = [row for row in found if len(row.tokens) <= bench.window]
        if fitting and len(own.tokens) <= bench.window:
            rows.append([own, *fitting])
            groups.append(question.group)
    return rows, groups


def _count_wins(
    bench: Bench,
    side: str,
    rows: Sequence[Sequence[TrainingRow]],
    groups: Sequence[str],
    on_progress: Callable[[int], None],
) -> Fit:
    losses = iter(bench.losses(side, [row for own in rows for row in own], on_progress))
    wins = []
    for some in rows:
        own, *others = (next(losses).mean for _ in some)
        wins.append(sum((own < other) + 0.5 * (own == other) for other in others) / len(others))
    return Fit(mean_interval(wins, groups), len(wins))
