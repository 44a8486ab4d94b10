"""Whether the data itself is spoiled: all answers the same, or answers that do not belong to their prompts.

Neither shows in what a training gained, since what is held out is spoiled in the same way. One answer to many prompts
means harm only if the prompts have nothing in common: "I am Ada" to twenty ways of asking for a name is what is to be
learnt, "banana" to twenty questions is not. Whether prompts have something in common is told by how alike they are on
the average of all pairs, which does not depend on how many there are: ways of asking for a name have 0.06 to 0.2 in
Jaccard similarity, unlike prompts of instruction data less than 0.05. Prompts that only look alike are left to the
other question, whether the answer belongs to them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import combinations

from chatbot.admin.datasets.similarity import cut_shingles, measure_similarity
from chatbot.admin.evaluation.questions import Question, choose_evenly
from chatbot.admin.evaluation.records import Fit, Reason
from chatbot.text import printable_line

SAME = 0.5
"""Share of prompts with one and the same answer above which something is wrong."""
_IN_COMMON = 0.06  # mean similarity of prompts that ask for the same
_MOST = 64  # questions that are compared pair by pair
_FITTING = 0.8
"""Share of wins that answers which belong to their prompts reach. With the smallest model (135 million parameters)
instruction data has 1.0 and the hardest sound case, short answers that are alike and about one matter (a model's
identity), 0.85. Below it, and with chance within the interval, nothing speaks for the data."""


def judge_data(questions: Sequence[Question], fit: Fit | None, *, fewest: int) -> list[Reason]:
    """At most one reason. Of fewer than `fewest` questions nothing is said."""
    if len(questions) < fewest:
        return []
    same = find_same(questions)
    if same is not None:
        text, count = same
        shown = printable_line(text, 60)
        return [
            Reason(
                "worse",
                f"The data is spoiled: {count} of {len(questions)} answers are the same, “{shown}”, "
                "although their prompts have nothing in common.",
            )
        ]
    if fit is None:
        text = "Whether the answers of the data belong to their prompts cannot be told"
        why = "too many are of one group or, behind another prompt, longer than the model's window"
        return [Reason("undecided", f"{text}: {why}.")]
    return _judge_fit(fit)


def find_same(questions: Sequence[Question]) -> tuple[str, int] | None:
    """The answer that most prompts have, though they have nothing in common, and how often it stands there."""
    counts = Counter(one.answer.strip() for one in questions).most_common(1)
    if not counts or counts[0][1] <= SAME * len(questions):
        return None
    text, count = counts[0]
    asking = choose_evenly([one for one in questions if one.answer.strip() == text], _MOST)
    shingles = [cut_shingles(one.prompt) for one in asking]
    alike = [measure_similarity(one, other) for one, other in combinations(shingles, 2)]
    return None if alike and sum(alike) / len(alike) >= _IN_COMMON else (text, count)


def _judge_fit(fit: Fit) -> list[Reason]:
    interval = fit.interval
    if interval.low > Fit.CHANCE:
        return []
    figures = (
        f"of {fit.n} answers, {100 * interval.mean:.0f} % of the comparisons find one likelier after its own prompt "
        f"than after another (95 % interval {100 * interval.low:.0f} to {100 * interval.high:.0f} %; "
        "shuffled ones have 50 %)"
    )
    if interval.high < _FITTING and not fit.alike:
        return [Reason("worse", f"The data is spoiled: its answers do not belong to their prompts; {figures}.")]
    return [Reason("undecided", f"Whether the answers of the data belong to their prompts cannot be told: {figures}.")]
