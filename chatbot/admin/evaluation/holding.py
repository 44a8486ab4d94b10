"""What was held out of training, and how far it may be believed.

The test split decides, which training never saw. Where it is thin, the validation split is added, though training
looked at it: the weights are those of the look whose held-out loss was lowest. That flatters the candidate, and how
much follows from how many looks it was chosen among. If the weights are those of the last step, nothing was chosen, and
the validation split is as good as the test split. Otherwise its word counts only under a stricter demand (`Borrowed`):
each of the k sets of weights that might have been kept gets an interval of confidence 1 − 0.05/k, so that all of them
hold at once with 95 % (Bonferroni), whichever was kept; and the groups of the test split, by themselves, must not
speak against it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from chatbot.admin.datasets.folder import DatasetFolder
from chatbot.admin.datasets.items import SPLITS, Item, LabelItem, PreferenceItem, SftItem, Split
from chatbot.admin.evaluation.measuring import Gain
from chatbot.admin.evaluation.questions import Question, choose_evenly, list_questions, render_answer
from chatbot.admin.evaluation.records import Borrowed
from chatbot.admin.rendering import render_rows
from chatbot.errors import NotFound
from chatbot.models.template import ChatTemplate
from chatbot.store.database import Store

_RISK = 0.05
EVIDENCE = 256
"""Questions by which the data itself is judged."""


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Items that training did not see. `general` are those against forgetting: they are not what it was trained for."""

    items: Sequence[Item]
    general: Sequence[Item]
    tested: frozenset[str]
    """The groups of the test split among `items`."""
    borrowed: bool
    """Whether some of `items` are of the validation split."""
    left_out: int
    """Items longer than the model's window."""

    @property
    def groups(self) -> int:
        return len({item.group for item in self.items})

    @property
    def note(self) -> str:
        """What was measured on, in words."""
        splits = "test and validation" if self.borrowed else "test"
        return f"{splits}, {self.left_out} longer than the model's window left out" if self.left_out else splits


def hold(folder: DatasetFolder, template: ChatTemplate, *, window: int, most: int, fewest: int) -> HeldOut:
    """At most `most` items, of as many groups as there are, of the test split, and of the validation split too if the
    first has fewer than `fewest` groups. What other versions here train on is left out: one of the two models may have
    learnt it. Raises DatasetDamaged."""
    left_out = 0
    taught = folder.manifest.taught

    def read(split: Split) -> list[Item]:
        nonlocal left_out
        everything: list[Item] = [item for item in folder.read(split) if item.group not in taught]
        fitting = [item for item in everything if measure_length(template, item) <= window]
        left_out += len(everything) - len(fitting)
        return fitting

    found = read("test")
    tested = frozenset(item.group for item in found if not is_general(item))
    borrowed = len(tested) < fewest
    if borrowed:
        more = read("validation")
        found += more
        borrowed = not all(map(is_general, more))
    items, general = ([item for item in found if is_general(item) is kind] for kind in (False, True))
    return HeldOut(choose_evenly(items, most), choose_evenly(general, most), tested, borrowed, left_out)


def list_evidence(folder: DatasetFolder) -> list[Question]:
    """Questions of the whole dataset, at most EVIDENCE, of as many groups as there are. Raises DatasetDamaged."""
    items = [item for split in SPLITS for item in folder.read(split) if not is_general(item)]
    return choose_evenly(list_questions(items), EVIDENCE)


def measure_length(template: ChatTemplate, item: Item) -> int:
    """The tokens of its longest row."""
    if isinstance(item, SftItem):
        rows = render_rows(template, item.turns)
    elif isinstance(item, PreferenceItem):
        rows = [render_answer(template, item.turns, text) for text in (item.chosen, item.rejected)]
    else:
        assert isinstance(item, LabelItem)
        rows = [render_answer(template, item.turns, item.reply)]
    return max((len(row.tokens) for row in rows), default=0)


def is_general(item: Item) -> bool:
    return item.source.startswith("replay:")


def judge_borrowed(store: Store, run_id: str, champion_id: str, held: HeldOut, gain: Gain) -> Borrowed | None:
    """The stricter demand, or None if nothing was borrowed or nothing was chosen by what was."""
    if not held.borrowed:
        return None
    choices = count_choices(store, run_id, champion_id)
    if choices == 1:
        return None
    low = gain.estimate(confidence=1 - _RISK / choices).low if choices else -math.inf
    return Borrowed(choices, low, len(held.tested), gain.estimate(only=held.tested).mean)


def count_choices(store: Store, run_id: str, champion_id: str) -> int:
    """Among how many sets of weights the held-out loss chose those of a run, and of the runs that it went on from up to
    the champion, which both have in common: 1 if each kept its last step, 0 if that is not known."""
    choices = 1
    try:
        while run_id:
            choices *= _count_looks(store, run_id)
            parent = store.runs.find(run_id).parent_version_id
            above = store.model_versions.get(parent).run_id if parent and parent != champion_id else None
            run_id = above or ""
    except NotFound:
        return 0
    return choices


def _count_looks(store: Store, run_id: str) -> int:
    """A run keeps the first of its looks with the lowest loss; it stops early only some looks after that one. So if the
    last look of all is the best, and no step came after it, the weights are those of the last step that was planned."""
    steps = [step for step, _ in store.runs.metrics(run_id, "loss")]
    told = store.runs.metrics(run_id, "held-out loss")
    looks = [(loss, step) for step, loss in told if step > 0 and math.isfinite(loss)]
    if not steps:
        return 0
    if not looks:
        return 1
    return 1 if min(looks)[1] >= max(steps) else len(looks)
