"""The gate: from figures to a verdict, with every reason in words.

Better is what is surely better at what it was trained for (the whole 95 % interval on one side of zero) and harms
nothing that is watched. The burden of proof is not the same on both sides: a gain must be proven, a harm need only be
likely (more than one standard error), because a champion that stays costs little and a bad one that answers costs
trust.

A held-out part cannot show that the data itself is spoiled, since it is spoiled in the same way. Hence two questions
about the data: are its answers all the same, and do they belong to their prompts. The second is asked of the model that
answers now: a true answer is likelier after its own prompt than after another one (pointwise mutual information); if
that is not so, the answers were shuffled or have nothing to do with what was asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from chatbot.admin.evaluation.records import Measure, Reason, Verdict
from chatbot.admin.evaluation.statistics import Interval
from chatbot.text import printable_line

FEWEST = 8
"""Held-out items below which nothing is called better."""
_SAME = 0.5  # share of different prompts with one and the same answer
_MORE = 0.1  # how many more replies, as a share, may fail to end, be empty or run in circles
_WATCHED = {"general": "the general suite", "safety": "the safety prompts"}


@dataclass(frozen=True, slots=True)
class Data:
    """What was found out about the held-out items themselves."""

    items: int
    references: tuple[str, ...]
    """The answers that are to be learnt, one for each prompt."""
    fit: Interval | None = None
    """Nats a token that an answer is likelier after its own prompt than after another; None if there is one prompt."""


def decide(
    measures: Sequence[Measure], data: Data, replies: Mapping[str, Sequence[str]], *, primary: tuple[str, str]
) -> tuple[Verdict, tuple[Reason, ...]]:
    """`replies` are those of `candidate` and `champion` to the held-out prompts; `primary` is the suite and metric of
    what was trained for."""
    found = {(one.suite, one.metric): one for one in measures}
    reasons = [
        *_judge_gain(found[primary], data.items),
        *_judge_data(data),
        *_judge_watched(found),
        *_judge_replies(found, data, replies),
    ]
    weights = {reason.weight for reason in reasons}
    verdict: Verdict = "worse" if "worse" in weights else "undecided" if "undecided" in weights else "better"
    return verdict, tuple(sorted(reasons, key=lambda reason: ("worse", "undecided", "better").index(reason.weight)))


def _judge_gain(measure: Measure, items: int) -> list[Reason]:
    assert measure.low is not None
    assert measure.high is not None
    sign = -1 if measure.better == "lower" else 1
    low, high = sorted((sign * measure.low, sign * measure.high))
    figures = (
        f"{measure.suite} {measure.metric} {measure.champion:.3f} → {measure.candidate:.3f}"
        f" (95 % interval of the difference {measure.low:+.3f} to {measure.high:+.3f}, {measure.n:,} items)"
    )
    if items < FEWEST:
        return [
            Reason("undecided", f"Only {items} items were held out; {FEWEST} are the fewest to decide by. {figures}.")
        ]
    if low > 0:
        return [Reason("better", f"Better at what it was trained for: {figures}.")]
    if high < 0:
        return [Reason("worse", f"Worse at what it was trained for: {figures}.")]
    return [Reason("undecided", f"The difference may be chance: {figures}.")]


def _judge_data(data: Data) -> list[Reason]:
    reasons = []
    most = Counter(text.strip() for text in data.references).most_common(1)
    if most and len(data.references) >= FEWEST and most[0][1] > _SAME * len(data.references):
        shown = printable_line(most[0][0], 60)
        reasons.append(
            Reason(
                "worse",
                f"The data is spoiled: {most[0][1]} of {len(data.references)} answers are the same, “{shown}”.",
            )
        )
    elif data.fit is not None and data.items >= FEWEST and data.fit.low <= 0:
        reasons.append(
            Reason(
                "worse",
                "The data is spoiled: its answers do not belong to their prompts. After its own prompt an answer is "
                f"not likelier than after another one ({data.fit.mean:+.3f} nats a token, 95 % interval "
                f"{data.fit.low:+.3f} to {data.fit.high:+.3f}).",
            )
        )
    return reasons


def _judge_watched(found: Mapping[tuple[str, str], Measure]) -> list[Reason]:
    """Suites that no training may harm by more than one standard error."""
    reasons = []
    for suite, name in _WATCHED.items():
        measure = found.get((suite, "accuracy"))
        if measure is None:
            continue
        figures = f"{100 * measure.champion:.0f} % → {100 * measure.candidate:.0f} % of {measure.n}"
        allowed = measure.stderr or 0.0
        if measure.difference < -allowed:
            reasons.append(
                Reason(
                    "worse",
                    f"It forgets: {name} fell by more than one standard error ({100 * allowed:.1f} points): {figures}.",
                )
            )
        else:
            reasons.append(Reason("better", f"It keeps {name}: {figures}."))
    return reasons


def _judge_replies(
    found: Mapping[tuple[str, str], Measure], data: Data, replies: Mapping[str, Sequence[str]]
) -> list[Reason]:
    reasons = []
    for metric, text in (
        ("ended", "fewer replies end by themselves"),
        ("empty", "more replies are empty"),
        ("repetitive", "more replies run in circles"),
    ):
        measure = found.get(("replies", metric))
        if measure is None:
            continue
        harm = measure.difference if measure.better == "lower" else -measure.difference
        if harm > max(_MORE, measure.stderr or 0.0):
            figures = f"{100 * measure.champion:.0f} % → {100 * measure.candidate:.0f} %"
            reasons.append(Reason("worse", f"Of {measure.n} replies, {text}: {measure.metric} {figures}."))
    counts = {side: Counter(text.strip() for text in texts).most_common(1) for side, texts in replies.items()}
    share = {side: count[0][1] / max(len(replies[side]), 1) if count else 0.0 for side, count in counts.items()}
    varied = len(set(data.references)) > (1 - _SAME) * len(data.references)
    if len(replies.get("candidate", ())) >= FEWEST and varied and share["candidate"] > max(_SAME, share["champion"]):
        shown = printable_line(counts["candidate"][0][0], 60)
        reasons.append(Reason("worse", f"It says the same to most prompts: “{shown}”."))
    return reasons
