"""Replies of both models to held-out prompts, beside those that a person approved.

They are made greedily and compared with the approved text: chrF (Popović 2015, by sacrebleu), the same to the letter,
the length. How long a reply may grow follows from the approved one: with one limit for all, whoever is asked for an
essay would seem not to know how to end. Where the approved reply itself is longer than any reply may be, nothing is
said about ending.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from chatbot.admin.evaluation.bench import Answer, Bench
from chatbot.admin.evaluation.measuring import CANDIDATE, CHAMPION, pair_scores
from chatbot.admin.evaluation.questions import Question
from chatbot.admin.evaluation.records import Direction, Measure
from chatbot.admin.rendering import render_prompt
from chatbot.dialogue.repetition import compression_ratio

SUITE = "replies"
_CIRCLES = 2.4  # compression above which a reply runs in circles, as in the review
_SHORTEST = 64  # tokens that any reply may have
_MORE = 32  # tokens beyond twice the approved reply


def set_limits(lengths: Sequence[int], prompts: Sequence[int], *, most: int, window: int) -> list[int]:
    """How many tokens each reply may have: twice the approved one and some more, within `most` and the model's window.
    All in tokens."""
    return [
        max(1, min(max(_SHORTEST, 2 * length + _MORE), most, window - prompt))
        for length, prompt in zip(lengths, prompts, strict=True)
    ]


def compare_replies(
    bench: Bench, questions: Sequence[Question], *, most: int, on_progress: Callable[[int], None] = lambda _: None
) -> tuple[list[Measure], dict[str, list[Answer]]]:
    """The figures, and the replies of both in the order of the questions. `most` tokens bound each reply."""
    prompts = [render_prompt(bench.template, one.turns) for one in questions]
    lengths = [len(bench.template.tokenizer.encode(one.answer, add_special_tokens=False).ids) for one in questions]
    limits = set_limits(lengths, [len(prompt) for prompt in prompts], most=most, window=bench.window)
    answers = {
        side: bench.answer(side, prompts, limits=limits, on_progress=on_progress) for side in (CANDIDATE, CHAMPION)
    }
    room = [length < limit for length, limit in zip(lengths, limits, strict=True)]
    return measure_replies(questions, answers[CANDIDATE], answers[CHAMPION], room), answers


def measure_replies(
    questions: Sequence[Question], own: Sequence[Answer], other: Sequence[Answer], room: Sequence[bool]
) -> list[Measure]:
    """What the replies look like beside the approved ones, and how quickly they came. `room` says of each whether the
    approved reply could have been given in full."""
    groups = [one.group for one in questions]

    def pair(
        metric: str, score: Callable[[Answer, str], float], better: Direction, unit: str = "", *, ended: bool = False
    ) -> Measure:
        places = [place for place in range(len(questions)) if room[place] or not ended]
        first, second = ([score(side[place], questions[place].answer) for place in places] for side in (own, other))
        return pair_scores(SUITE, metric, first, second, better, [groups[place] for place in places], unit=unit)

    chrf = _load_chrf()
    speeds = [
        sum(reply.tokens for reply in side) / max(sum(reply.seconds for reply in side), 1e-9) for side in (own, other)
    ]
    return [
        pair("chrF", lambda reply, reference: chrf(reply.text, reference), "higher"),
        pair("exact", lambda reply, reference: float(reply.text.strip() == reference.strip()), "higher"),
        pair("length", lambda reply, _: float(len(reply.text)), "", "characters"),
        *([pair("ended", lambda reply, _: float(reply.ended), "higher", ended=True)] if any(room) else []),
        pair("empty", lambda reply, _: float(not reply.text.strip()), "lower"),
        pair("repetitive", lambda reply, _: float(compression_ratio(reply.text) > _CIRCLES), "lower"),
        Measure("speed", "batch", speeds[0], speeds[1], len(own), "", unit="tokens/s"),
    ]


def _load_chrf() -> Callable[[str, str], float]:
    """chrF of one reply against one reference, 0 to 100."""
    from sacrebleu.metrics import CHRF

    metric = CHRF()
    return lambda text, reference: float(metric.sentence_score(text, [reference]).score)
