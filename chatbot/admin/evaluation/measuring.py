"""From items and suites to figures of both models, each with the interval of their paired difference.

Losses are compared on assistant tokens only, as they are trained. Choices (which of several answers is the likeliest
for a token) are how the general and the safety suite ask: they need no generation, no judge and no words that a model
may say in two ways. Replies are generated greedily and compared with the text that a person approved: chrF (Popović
2015, by sacrebleu), the same to the letter, the length.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from chatbot.admin.datasets.items import Item, LabelItem, PreferenceItem, SftItem, Turn
from chatbot.admin.evaluation.bench import Answer, Bench, Loss
from chatbot.admin.evaluation.records import Direction, Measure
from chatbot.admin.evaluation.statistics import Interval, mean_interval, ratio_interval
from chatbot.admin.evaluation.suites import Suite
from chatbot.admin.rendering import TrainingRow, render_row
from chatbot.dialogue.repetition import compression_ratio
from chatbot.models.template import ChatTemplate

CANDIDATE, CHAMPION = "candidate", "champion"
_CIRCLES = 2.4  # compression above which a reply runs in circles, as in the review

OnProgress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt of the held-out part and the answer that a person approved."""

    turns: tuple[Turn, ...]
    answer: str

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
                questions.append(Question(item.turns[:place], item.turns[place].content))
        elif isinstance(item, PreferenceItem):
            questions.append(Question(item.turns, item.chosen))
        elif item.good:
            questions.append(Question(item.turns, item.reply))
    return questions


def render_answer(template: ChatTemplate, turns: Sequence[Turn], answer: str) -> TrainingRow:
    """The row in which only `answer` is learnt."""
    context = [turn.model_copy(update={"learn": False}) for turn in turns]
    return render_row(template, [*context, Turn(role="assistant", content=answer, learn=True)])


def compare_losses(bench: Bench, rows: Sequence[TrainingRow], suite: str, on_progress: OnProgress) -> Measure:
    """Mean loss a learnt token, in nats."""
    own = bench.losses(CANDIDATE, rows, on_progress)
    other = bench.losses(CHAMPION, rows, on_progress)
    tokens = [loss.tokens for loss in own]
    interval = ratio_interval([a.nats - b.nats for a, b in zip(own, other, strict=True)], tokens)
    total = max(sum(tokens), 1)
    return _measure(
        suite, "loss", sum(loss.nats for loss in own) / total, sum(loss.nats for loss in other) / total,
        len(rows), interval, "lower", unit="nats a token",
    )  # fmt: skip


def compare_pairs(
    bench: Bench, template: ChatTemplate, items: Sequence[PreferenceItem], on_progress: OnProgress
) -> list[Measure]:
    """How much likelier the better reply of a pair is than the worse, in nats, and in how many pairs it is."""
    better = [render_answer(template, item.turns, item.chosen) for item in items]
    worse = [render_answer(template, item.turns, item.rejected) for item in items]
    margins = {}
    for side in (CANDIDATE, CHAMPION):
        first, second = bench.losses(side, better, on_progress), bench.losses(side, worse, on_progress)
        margins[side] = [b.nats - a.nats for a, b in zip(first, second, strict=True)]
    right = {side: [float(margin > 0) for margin in margins[side]] for side in margins}
    return [
        pair_scores("held-out", "margin", margins[CANDIDATE], margins[CHAMPION], "higher", unit="nats"),
        pair_scores("held-out", "preferred", right[CANDIDATE], right[CHAMPION], "higher"),
    ]


def compare_labels(
    bench: Bench, template: ChatTemplate, items: Sequence[LabelItem], on_progress: OnProgress
) -> list[Measure]:
    """How far good replies became likelier and bad ones less likely, in nats a reply, beside the champion's."""
    rows = [render_answer(template, item.turns, item.reply) for item in items]
    signs = [1.0 if item.good else -1.0 for item in items]
    lean = {
        side: [-sign * loss.nats for sign, loss in zip(signs, bench.losses(side, rows, on_progress), strict=True)]
        for side in (CANDIDATE, CHAMPION)
    }
    return [pair_scores("held-out", "margin", lean[CANDIDATE], lean[CHAMPION], "higher", unit="nats")]


def compare_choices(
    bench: Bench, template: ChatTemplate, suite: Suite, on_progress: OnProgress
) -> tuple[Measure, list[tuple[str, str, bool]]]:
    """In how many items the right answer is the likeliest for a token; and (prompt, what the candidate would say,
    whether that is right) for each."""
    rows, owners, answers = [], [], []
    for place, item in enumerate(suite.items):
        for answer in (item.right, *item.wrong):
            rows.append(render_answer(template, [Turn(role="user", content=item.prompt)], answer))
            owners.append(place)
            answers.append(answer)
    right: dict[str, list[float]] = {}
    said: list[tuple[str, str, bool]] = []
    for side in (CHAMPION, CANDIDATE):
        losses = bench.losses(side, rows, on_progress)
        best = _find_best(losses, owners, len(suite.items))
        right[side] = [float(answers[best[place]] == item.right) for place, item in enumerate(suite.items)]
        said = [
            (item.prompt, answers[best[place]], answers[best[place]] == item.right)
            for place, item in enumerate(suite.items)
        ]
    return pair_scores(suite.name, "accuracy", right[CANDIDATE], right[CHAMPION], "higher"), said


def measure_fit(
    bench: Bench, template: ChatTemplate, questions: Sequence[Question], on_progress: OnProgress
) -> Interval | None:
    """How much likelier, in nats a token, an answer is after its own prompt than after another item's, to the
    champion. None if all prompts are the same."""
    others = _rotate(questions)
    if others is None:
        return None
    own = [render_answer(template, one.turns, one.answer) for one in questions]
    foreign = [render_answer(template, other.turns, one.answer) for one, other in zip(questions, others, strict=True)]
    at_home = bench.losses(CHAMPION, own, on_progress)
    abroad = bench.losses(CHAMPION, foreign, on_progress)
    return mean_interval([b.mean - a.mean for a, b in zip(at_home, abroad, strict=True)])


def compare_replies(questions: Sequence[Question], own: Sequence[Answer], other: Sequence[Answer]) -> list[Measure]:
    """What the replies look like beside the approved ones, and how quickly they came."""
    references = [one.answer for one in questions]

    def pair(metric: str, score: Callable[[Answer, str], float], better: Direction, unit: str = "") -> Measure:
        first = [score(reply, reference) for reply, reference in zip(own, references, strict=True)]
        second = [score(reply, reference) for reply, reference in zip(other, references, strict=True)]
        return pair_scores("replies", metric, first, second, better, unit=unit)

    chrf = _load_chrf()
    speeds = [
        sum(reply.tokens for reply in side) / max(sum(reply.seconds for reply in side), 1e-9) for side in (own, other)
    ]
    return [
        pair("chrF", lambda reply, reference: chrf(reply.text, reference), "higher"),
        pair("exact", lambda reply, reference: float(reply.text.strip() == reference.strip()), "higher"),
        pair("length", lambda reply, _: float(len(reply.text)), "", "characters"),
        pair("ended", lambda reply, _: float(reply.ended), "higher"),
        pair("empty", lambda reply, _: float(not reply.text.strip()), "lower"),
        pair("repetitive", lambda reply, _: float(compression_ratio(reply.text) > _CIRCLES), "lower"),
        Measure("speed", "batch", speeds[0], speeds[1], len(own), "", unit="tokens/s"),
    ]


def _find_best(losses: Sequence[Loss], owners: Sequence[int], items: int) -> list[int]:
    """The index of the likeliest answer of each item; the first among equals."""
    best = [-1] * items
    for index, (loss, owner) in enumerate(zip(losses, owners, strict=True)):
        if best[owner] < 0 or loss.mean < losses[best[owner]].mean:
            best[owner] = index
    return best


def _rotate(questions: Sequence[Question]) -> list[Question] | None:
    """For each question one with another prompt."""
    others = []
    for place, one in enumerate(questions):
        turned = (questions[(place + step) % len(questions)] for step in range(1, len(questions)))
        other = next((other for other in turned if other.prompt != one.prompt), None)
        if other is None:
            return None
        others.append(other)
    return others


def _load_chrf() -> Callable[[str, str], float]:
    """chrF of one reply against one reference, 0 to 100."""
    from sacrebleu.metrics import CHRF

    metric = CHRF()
    return lambda text, reference: float(metric.sentence_score(text, [reference]).score)


def pair_scores(
    suite: str, metric: str, own: Sequence[float], other: Sequence[float], better: Direction, *, unit: str = ""
) -> Measure:
    interval = mean_interval([a - b for a, b in zip(own, other, strict=True)])
    count = max(len(own), 1)
    return _measure(suite, metric, sum(own) / count, sum(other) / count, len(own), interval, better, unit=unit)


def _measure(
    suite: str, metric: str, own: float, other: float, n: int, interval: Interval, better: Direction, *, unit: str = ""
) -> Measure:
    return Measure(suite, metric, own, other, n, better, interval.low, interval.high, interval.stderr, unit=unit)
