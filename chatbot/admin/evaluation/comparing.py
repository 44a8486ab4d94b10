"""An evaluation from beginning to end: the candidate against what answers now.

The held-out part is that of the dataset that the candidate's run trained on (`holding` says which, and how far it may
be believed). Rows that were only put in against forgetting are measured apart: they are not what it was trained for.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from chatbot.admin.datasets.freezing import open_version
from chatbot.admin.evaluation.bench import Bench
from chatbot.admin.evaluation.choices import Chosen, compare_choices
from chatbot.admin.evaluation.fit import MOST, PARTNERS, measure_fit
from chatbot.admin.evaluation.gate import FEWEST, Data, decide, judge_gain
from chatbot.admin.evaluation.harness import is_task, list_tasks, measure_task
from chatbot.admin.evaluation.holding import HeldOut, hold, judge_borrowed, list_evidence
from chatbot.admin.evaluation.measuring import (
    CANDIDATE,
    CHAMPION,
    HELD_OUT,
    compare_losses,
    count_rows,
    measure_gain,
    render_items,
)
from chatbot.admin.evaluation.questions import Question, choose_evenly, list_questions
from chatbot.admin.evaluation.recording import record
from chatbot.admin.evaluation.records import Comparison, Measure, Report
from chatbot.admin.evaluation.replies import compare_replies
from chatbot.admin.evaluation.statistics import needed_samples
from chatbot.admin.evaluation.suites import Suite, load_suite
from chatbot.admin.evaluation.weights import FINEST, Weights, list_formats
from chatbot.admin.versions import find_version
from chatbot.config import Home
from chatbot.errors import InvalidInput, NotFound, PromotionRefused
from chatbot.models.library import ModelFolder, ModelLibrary
from chatbot.store.database import Store
from chatbot.store.model_versions import ModelVersion

SUITES = ("general", "safety")

OnProgress = Callable[[str, int, int], None]
"""Hears what is being measured, how many rows a batch held, and how many there are in all."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is measured."""

    items: int = 300
    """Held-out items, at most."""
    replies: int = 32
    """Held-out prompts that are answered by both."""
    tokens: int = 256
    """Of a generated reply, at most: it bounds the time, also for whoever never ends. Less follows from the reply that
    was approved."""


@dataclass(frozen=True, slots=True)
class Pairing:
    """Who is compared, on what."""

    candidate: ModelVersion
    champion: ModelVersion
    base: ModelFolder
    adapters: Mapping[str, Path]
    """By CANDIDATE and CHAMPION; a base model has none."""
    dataset: str
    held: HeldOut
    data: Sequence[Question] = ()
    """Of all splits, from all over: what is asked about the data itself."""
    formats: tuple[Weights, ...] = (FINEST,)
    """Of the weights of both, from fine to coarse."""


def pair(store: Store, home: Home, candidate: str, *, against: str, limits: Limits) -> Pairing:
    """`candidate` and `against` are names of model versions. Raises NotFound, ModelError, DatasetDamaged, and
    PromotionRefused if base, tokenizer or template differ: their figures could not be compared."""
    library = ModelLibrary(home.models)
    own, other = library.find_verified(candidate), library.find_verified(against)
    if candidate == against:
        raise PromotionRefused(f"{candidate} is to be compared with itself: it answers already, or --against names it.")
    for what, first, second in (
        ("base model", own.foundation.sha256, other.foundation.sha256),
        ("chat template", own.template_sha, other.template_sha),
    ):
        if first != second:
            raise PromotionRefused(
                f"{candidate} has another {what} than {against}, so their figures cannot be compared.",
                hint=f"Compare it with {own.foundation.name} by --against, or train on {other.foundation.name}.",
            )
    version = find_version(store, own)
    if version.run_id is None:
        raise NotFound(f"{candidate} came of no run here, so there is no held-out part to measure it on.")
    run = store.runs.find(version.run_id)
    titles = run.datasets
    if not titles:
        raise NotFound(f"The dataset that {candidate} learnt from is not here.", hint="Import it.")
    _, folder = open_version(store, home, titles[0])
    return Pairing(
        candidate=version,
        champion=find_version(store, other),
        base=own.foundation,
        adapters={side: one.path for side, one in ((CANDIDATE, own), (CHAMPION, other)) if one.kind == "adapter"},
        dataset=titles[0],
        held=hold(folder, own.load_template(), window=own.context, most=limits.items, fewest=FEWEST),
        data=list_evidence(folder),
        formats=list_formats(run.config),
    )


def evaluate(
    store: Store, pairing: Pairing, *, limits: Limits, on_progress: OnProgress, more: Sequence[str] = ()
) -> Report:
    """Measures both models and records what came of it. `more` are further suites: files of our own form, or tasks of
    lm-evaluation-harness; they are told, and decide nothing. Raises PromotionRefused if nothing is held out,
    InvalidInput for a suite that cannot be read."""
    held = pairing.held
    if not held.items:
        raise PromotionRefused(
            f"{pairing.dataset} holds nothing out, so nothing can be said about {pairing.candidate.name}.",
            hint="Build a larger dataset.",
        )
    begun = time.monotonic()
    suites = _load_suites([one for one in more if not is_task(one)])
    bench = Bench(pairing.base, pairing.adapters, pairing.base.load_template(), pairing.formats)
    questions = list_questions(held.items)
    gain = measure_gain(bench, held.items, _step(on_progress, "held-out part", count_rows(bench.template, held.items)))
    measures = list(gain.measures)
    if held.general:
        rows, groups = render_items(bench.template, held.general)
        measures += compare_losses(bench, rows, groups, "replay", _step(on_progress, "replay", 2 * len(rows))).measures
    chosen: dict[str, list[Chosen]] = {}
    for suite in suites:
        count = 2 * sum(1 + len(item.wrong) for item in suite.items)
        measure, chosen[suite.name] = compare_choices(bench, suite, _step(on_progress, suite.name, count))
        measures.append(measure)
    for task in list_tasks(more):
        measures += measure_task(bench, pairing.base, task, _step(on_progress, f"lm-eval {task}", 2))
    fit = measure_fit(
        bench,
        questions,
        data=pairing.data,
        elsewhere=[item.prompt for item in suites[0].items],
        fewest=FEWEST,
        on_progress=_step(on_progress, "fit of the data", (1 + PARTNERS) * min(len(pairing.data), MOST)),
    )
    asked = choose_evenly(questions, limits.replies)
    step = _step(on_progress, "replies", 2 * len(asked))
    replies, answers = compare_replies(bench, asked, most=limits.tokens, on_progress=step)
    measures += [*replies, *_ask_people(store, pairing)]
    run = pairing.candidate.run_id or ""
    borrowed = judge_borrowed(store, run, pairing.champion.id, held, gain)
    data = Data(held.groups, tuple(questions), fit, borrowed, tuple(pairing.data))
    texts = {side: [answer.text for answer in found] for side, found in answers.items()}
    verdict, reasons = decide(measures, data, texts, asked)
    report = Report(
        id=store.evaluations.new_id(),
        created=datetime.now(UTC),
        candidate=pairing.candidate.name,
        champion=pairing.champion.name,
        base=pairing.base.name,
        dataset=pairing.dataset,
        verdict=verdict,
        reasons=reasons,
        needed=count_needed(measures[0], data) if verdict == "undecided" else None,
        measures=tuple(measures),
        comparisons=tuple(
            Comparison(question.prompt, question.answer, other.text, own.text)
            for question, own, other in zip(asked, answers[CANDIDATE], answers[CHAMPION], strict=True)
        ),
        curve=tuple(store.runs.metrics(run, "loss")),
        held_out_curve=tuple(store.runs.metrics(run, "held-out loss")),
        settings={
            "held_out": held.note,
            **{suite.name: suite.version for suite in suites},
            "tokens": limits.tokens,
            "weights": str(bench.weights),
        },
        seconds=time.monotonic() - begun,
    )
    record(store, report, pairing.candidate.id, pairing.champion.id, chosen)
    return report


def count_needed(measure: Measure, data: Data) -> int | None:
    """How many held-out items it would take to be sure of the gain; None if that cannot be said, or if it is not the
    gain that is in doubt. Always more than there were, and as many as are in FEWEST groups."""
    if judge_gain(measure, replace(data, borrowed=None))[0].weight != "undecided":
        return None
    found = needed_samples(measure.difference, measure.stderr or 0.0, measure.n)
    if found is None or measure.stderr is None:
        return None
    return max(found, math.ceil(FEWEST * measure.n / max(data.groups, 1)), measure.n + 1)


def _load_suites(more: Sequence[str]) -> list[Suite]:
    """Ours and `more`, none of which may pass for another: the gate knows what it watches by name."""
    suites = [load_suite(name) for name in SUITES]
    taken = {*SUITES, HELD_OUT, "replay", "replies", "speed", "people", "tokens", "weights", "held_out"}
    for source in more:
        suite = load_suite(source)
        if suite.name in taken:
            raise InvalidInput(f"A suite called {suite.name} is measured already.", hint="Give the file another name.")
        taken.add(suite.name)
        suites.append(suite)
    return suites


def _ask_people(store: Store, pairing: Pairing) -> list[Measure]:
    said = store.evaluations.ask_people(pairing.candidate.id, pairing.champion.id)
    counts = (("rated up", said.up), ("rated down", said.down), ("duels won", said.wins))
    return [Measure("people", name, own, other, own + other) for name, (own, other) in counts if own + other]


def _step(on_progress: OnProgress, title: str, total: int) -> Callable[[int], None]:
    return lambda count: on_progress(title, count, total)
