"""An evaluation from beginning to end: the candidate against what answers now.

The held-out part is the test split of the dataset that the candidate's run trained on, which training never saw, not
even to decide when to stop. Where that is too small to decide by, the validation split is added, and the report says
so. Rows that were only put in against forgetting are measured apart: they are not what it was trained for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from chatbot.admin.datasets.freezing import open_version
from chatbot.admin.datasets.items import Item, LabelItem, PreferenceItem, SftItem
from chatbot.admin.evaluation.bench import Answer, Bench
from chatbot.admin.evaluation.gate import FEWEST, Data, decide
from chatbot.admin.evaluation.harness import is_task, list_tasks, measure_task
from chatbot.admin.evaluation.measuring import (
    CANDIDATE,
    CHAMPION,
    Question,
    compare_choices,
    compare_labels,
    compare_losses,
    compare_pairs,
    compare_replies,
    list_questions,
    measure_fit,
)
from chatbot.admin.evaluation.records import Comparison, Measure, Report
from chatbot.admin.evaluation.statistics import needed_samples
from chatbot.admin.evaluation.suites import Suite, load_suite
from chatbot.admin.rendering import TrainingRow, render_prompt, render_rows
from chatbot.config import Home
from chatbot.errors import NotFound, PromotionRefused
from chatbot.models.library import ModelFolder, ModelLibrary
from chatbot.models.template import ChatTemplate
from chatbot.store.database import Store
from chatbot.store.evaluations import GATE, Score
from chatbot.store.model_versions import ModelVersion

SUITES = ("general", "safety")
_VERDICTS = {"better": 1.0, "undecided": 0.0, "worse": -1.0}

OnProgress = Callable[[str, int, int], None]
"""Hears what is being measured, how many rows a batch held, and how many there are in all."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is measured."""

    items: int = 300
    """Held-out items, at most."""
    replies: int = 32
    """Held-out prompts that are answered by both."""
    tokens: int = 64
    """Of a generated reply, at most."""


@dataclass(frozen=True, slots=True)
class Pairing:
    """Who is compared, on what."""

    candidate: ModelVersion
    champion: ModelVersion
    base: ModelFolder
    adapters: Mapping[str, Path]
    """By CANDIDATE and CHAMPION; a base model has none."""
    dataset: str
    items: Sequence[Item]
    general: Sequence[Item]
    """Held-out rows against forgetting."""
    note: str


def pair(store: Store, home: Home, candidate: str, *, against: str, limits: Limits) -> Pairing:
    """`candidate` and `against` are names of model versions. Raises NotFound, ModelError, DatasetDamaged, and
    PromotionRefused if base, tokenizer or template differ: their figures could not be compared."""
    library = ModelLibrary(home.models)
    own, other = library.find_verified(candidate), library.find_verified(against)
    if candidate == against:
        raise PromotionRefused(f"{candidate} is what answers now, so there is nothing to compare it with.")
    for what, first, second in (
        ("base model", own.foundation.sha256, other.foundation.sha256),
        ("chat template", own.template_sha, other.template_sha),
    ):
        if first != second:
            raise PromotionRefused(
                f"{candidate} has another {what} than {against}, so their figures cannot be compared.",
                hint=f"Compare it with {own.foundation.name} by --against, or train on {other.foundation.name}.",
            )
    version = store.model_versions.find(candidate)
    if version.run_id is None:
        raise NotFound(f"{candidate} came of no run here, so there is no held-out part to measure it on.")
    titles = store.runs.find(version.run_id).datasets
    if not titles:
        raise NotFound(f"The dataset that {candidate} learnt from is not here.", hint="Import it.")
    _, folder = open_version(store, home, titles[0])
    items, note = list(folder.read("test")), "test"
    if sum(not _is_general(item) for item in items) < FEWEST:
        items += folder.read("validation")
        note = "test and validation"
    return Pairing(
        candidate=version,
        champion=_find_version(store, other),
        base=own.foundation,
        adapters={side: one.path for side, one in ((CANDIDATE, own), (CHAMPION, other)) if one.kind == "adapter"},
        dataset=titles[0],
        items=[item for item in items if not _is_general(item)][: limits.items],
        general=[item for item in items if _is_general(item)][: limits.items],
        note=note,
    )


def evaluate(
    store: Store, pairing: Pairing, *, limits: Limits, on_progress: OnProgress, more: Sequence[str] = ()
) -> Report:
    """Measures both models and records what came of it. `more` are further suites: files of our own form, or tasks of
    lm-evaluation-harness; they are told, and decide nothing. Raises PromotionRefused if nothing is held out,
    InvalidInput for a suite that cannot be read."""
    if not pairing.items:
        raise PromotionRefused(
            f"{pairing.dataset} holds nothing out, so nothing can be said about {pairing.candidate.name}.",
            hint="Build a larger dataset.",
        )
    begun = time.monotonic()
    template = pairing.base.load_template()
    bench = Bench(pairing.base, pairing.adapters, template)
    suites = [load_suite(name) for name in (*SUITES, *(one for one in more if not is_task(one)))]
    questions = list_questions(pairing.items)
    measures, primary = _measure_gain(bench, template, pairing.items, on_progress)
    if pairing.general:
        rows = _render(template, pairing.general)
        measures.append(compare_losses(bench, rows, "replay", _step(on_progress, "replay", 2 * len(rows))))
    chosen: dict[str, list[tuple[str, str, bool]]] = {}
    for suite in suites:
        count = 2 * sum(1 + len(item.wrong) for item in suite.items)
        measure, chosen[suite.name] = compare_choices(bench, template, suite, _step(on_progress, suite.name, count))
        measures.append(measure)
    for task in list_tasks(more):
        measures += measure_task(bench, pairing.base, task, _step(on_progress, f"lm-eval {task}", 2))
    fit = measure_fit(bench, template, questions, _step(on_progress, "fit of the data", 2 * len(questions)))
    asked = questions[: limits.replies]
    answers = _ask(bench, template, asked, limits, on_progress)
    measures += compare_replies(asked, answers[CANDIDATE], answers[CHAMPION])
    measures += _ask_people(store, pairing)
    data = Data(len(pairing.items), tuple(one.answer for one in questions), fit)
    texts = {side: [answer.text for answer in found] for side, found in answers.items()}
    verdict, reasons = decide(measures, data, texts, primary=primary)
    main = next(one for one in measures if (one.suite, one.metric) == primary)
    run = pairing.candidate.run_id or ""
    report = Report(
        id=store.evaluations.new_id(),
        created=datetime.now(UTC),
        candidate=pairing.candidate.name,
        champion=pairing.champion.name,
        base=pairing.base.name,
        dataset=pairing.dataset,
        verdict=verdict,
        reasons=reasons,
        needed=needed_samples(main.difference, main.stderr or 0.0, main.n) if verdict == "undecided" else None,
        measures=tuple(measures),
        comparisons=tuple(
            Comparison(question.prompt, question.answer, other.text, own.text)
            for question, own, other in zip(asked, answers[CANDIDATE], answers[CHAMPION], strict=True)
        ),
        curve=tuple(store.runs.metrics(run, "loss")),
        held_out_curve=tuple(store.runs.metrics(run, "held-out loss")),
        settings={"held_out": pairing.note, **{suite.name: suite.version for suite in suites}, "tokens": limits.tokens},
        seconds=time.monotonic() - begun,
    )
    _record(store, pairing, report, suites, chosen)
    return report


def _measure_gain(
    bench: Bench, template: ChatTemplate, items: Sequence[Item], on_progress: OnProgress
) -> tuple[list[Measure], tuple[str, str]]:
    """What it was trained for, and the name of the figure that decides."""
    pairs = [item for item in items if isinstance(item, PreferenceItem)]
    if pairs:
        step = _step(on_progress, "held-out pairs", 4 * len(pairs))
        return compare_pairs(bench, template, pairs, step), ("held-out", "margin")
    labels = [item for item in items if isinstance(item, LabelItem)]
    if labels:
        step = _step(on_progress, "held-out replies", 2 * len(labels))
        return compare_labels(bench, template, labels, step), ("held-out", "margin")
    rows = _render(template, items)
    step = _step(on_progress, "held-out loss", 2 * len(rows))
    return [compare_losses(bench, rows, "held-out", step)], ("held-out", "loss")


def _render(template: ChatTemplate, items: Sequence[Item]) -> list[TrainingRow]:
    return [row for item in items if isinstance(item, SftItem) for row in render_rows(template, item.turns)]


def _ask(
    bench: Bench, template: ChatTemplate, questions: Sequence[Question], limits: Limits, on_progress: OnProgress
) -> dict[str, list[Answer]]:
    prompts = [render_prompt(template, one.turns) for one in questions]
    step = _step(on_progress, "replies", 2 * len(prompts))
    return {side: bench.answer(side, prompts, limit=limits.tokens, on_progress=step) for side in (CANDIDATE, CHAMPION)}


def _ask_people(store: Store, pairing: Pairing) -> list[Measure]:
    said = store.evaluations.ask_people(pairing.candidate.id, pairing.champion.id)
    counts = (("rated up", said.up), ("rated down", said.down), ("duels won", said.wins))
    return [Measure("people", name, own, other, own + other) for name, (own, other) in counts if own + other]


def _record(
    store: Store,
    pairing: Pairing,
    report: Report,
    suites: Sequence[Suite],
    chosen: Mapping[str, list[tuple[str, str, bool]]],
) -> None:
    versions = {suite.name: suite.version for suite in suites}
    replies = [(one.prompt, one.candidate, {"champion": one.champion}) for one in report.comparisons]
    scores = []
    for measure in report.measures:
        items: list[tuple[str, str, dict[str, Any]]] = []
        if (measure.suite, measure.metric) == ("replies", "chrF"):
            items = [*replies]
        elif measure.suite in chosen:
            items = [(prompt, answer, {"right": right}) for prompt, answer, right in chosen[measure.suite]]
        scores.append(
            Score(
                suite=measure.suite,
                suite_version=versions.get(measure.suite, pairing.dataset),
                metric=measure.metric,
                candidate=measure.candidate,
                baseline=measure.champion,
                stderr=measure.stderr,
                n=measure.n,
                items=tuple(items),
            )
        )
    reasons: tuple[tuple[str, str, dict[str, Any]], ...] = tuple(
        (reason.weight, reason.text, {}) for reason in report.reasons
    )
    value = _VERDICTS[report.verdict]
    scores.append(Score(GATE, "1", "verdict", value, 0.0, None, len(pairing.items), reasons))
    store.evaluations.add(report.id, pairing.candidate.id, pairing.champion.id, scores)


def _find_version(store: Store, folder: ModelFolder) -> ModelVersion:
    if folder.kind == "adapter":
        return store.model_versions.find(folder.name)
    identifier = store.model_versions.find_or_add_base(
        folder.name, sha256=folder.sha256, template_sha=folder.template_sha, path=str(folder.path)
    )
    return store.model_versions.get(identifier)


def _is_general(item: Item) -> bool:
    return item.source.startswith("replay:")


def _step(on_progress: OnProgress, title: str, total: int) -> Callable[[int], None]:
    return lambda count: on_progress(title, count, total)
