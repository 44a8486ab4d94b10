"""A bench that runs no model: what a row costs is told by a function of its text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

from chatbot.admin.datasets.items import Turn
from chatbot.admin.evaluation.bench import Answer, Bench, Loss
from chatbot.admin.evaluation.questions import Question
from chatbot.admin.evaluation.weights import FINEST
from chatbot.admin.rendering import TrainingRow
from chatbot.models.template import ChatTemplate
from tests.admin.training.samples import build_tiny


class StubBench:
    """`cost(side, prompt, answer)` is the loss of each learnt token."""

    def __init__(self, template: ChatTemplate, cost: Callable[[str, str, str], float], window: int = 4096) -> None:
        self.template = template
        self.window = window
        self.weights = FINEST
        self.asked: list[tuple[str, int]] = []
        self.limits: list[int] = []
        self._cost = cost

    def losses(self, side: str, rows: Sequence[TrainingRow], on_progress: Any = None) -> list[Loss]:
        self.asked.append((side, len(rows)))
        found = []
        for row in rows:
            place = row.learned.index(True)
            prompt, answer = (self.template.decode(list(part)) for part in (row.tokens[:place], row.tokens[place:]))
            tokens = sum(row.learned)
            found.append(Loss(tokens * self._cost(side, prompt, answer), tokens))
        return found

    def answer(
        self, side: str, prompts: Sequence[Sequence[int]], *, limits: Sequence[int], on_progress: Any = None
    ) -> list[Answer]:
        self.limits = list(limits)
        return [Answer(f"{side} {number}", True, 3, 0.1) for number in range(len(prompts))]


def make_stub(folder: Path, cost: Callable[[str, str, str], float], window: int = 4096) -> Bench:
    return cast("Bench", StubBench(build_tiny(folder).load_template(), cost, window))


def ask(prompt: str, answer: str, group: str) -> Question:
    return Question((Turn(role="user", content=prompt),), answer, group)
