"""An evaluation of what was pretrained: how well it reads, beside what answers now.

The two models may cut text into different tokens, and may have different weights throughout. So what is compared is
bits a byte of the corpus' held-out documents, which do not depend on the tokenizer, document by document; and the same
suites as ever, each model asked in its own format. A model that was taught no chat is never called better than one that
chats by itself: what it is good at is another thing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from chatbot.admin.corpus.versions import open_corpus
from chatbot.admin.evaluation.bench import Bench
from chatbot.admin.evaluation.choices import Chosen, compare_chosen
from chatbot.admin.evaluation.gate import FEWEST, Data, judge_gain, judge_watched, weigh
from chatbot.admin.evaluation.measuring import CANDIDATE, CHAMPION, HELD_OUT, make_measure
from chatbot.admin.evaluation.recording import record
from chatbot.admin.evaluation.records import Comparison, Measure, Reason, Report
from chatbot.admin.evaluation.statistics import Series, contrast_interval, needed_samples
from chatbot.admin.evaluation.suites import load_suite
from chatbot.admin.rendering import TrainingRow
from chatbot.admin.versions import find_version
from chatbot.errors import InvalidInput, PromotionRefused
from chatbot.models.library import ModelFolder, ModelLibrary

if TYPE_CHECKING:
    from chatbot.config import Home
    from chatbot.models.template import ChatTemplate
    from chatbot.store.database import Store
    from chatbot.store.model_versions import ModelVersion
    from chatbot.store.runs import Run

SUITES = ("general", "safety")
_MOST_TEXT = 1 << 17
"""Characters of held-out text that both read."""
_LONGEST = 1 << 14
"""Characters of one document."""
_SHOWN = 8
_BEGINNING = 120
_WINDOW = 1024
_TOKENS = 64
_BITS = math.log(2)

OnProgress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class ReadingPair:
    """Who is compared, on what."""

    candidate: ModelVersion
    champion: ModelVersion
    folders: Mapping[str, ModelFolder]
    """By CANDIDATE and CHAMPION."""
    run: Run
    corpus: str
    texts: Sequence[str]


def pair_reading(store: Store, home: Home, candidate: str, run: Run, *, against: str) -> ReadingPair:
    """`run` is the pretraining that made `candidate`. Raises NotFound, ModelError, DatasetDamaged, PromotionRefused."""
    library = ModelLibrary(home.models)
    folders = {CANDIDATE: library.find_verified(candidate), CHAMPION: library.find_verified(against)}
    if candidate == against:
        raise PromotionRefused(f"{candidate} is to be compared with itself: it answers already, or --against names it.")
    title = run.datasets[0] if run.datasets else ""
    _, corpus = open_corpus(store, home, title)
    texts: list[str] = []
    for document in corpus.read("validation"):
        if sum(map(len, texts)) >= _MOST_TEXT:
            break
        texts.append(document.text[:_LONGEST])
    if not texts:
        raise PromotionRefused(
            f"{title} holds nothing out, so nothing can be said about {candidate}.",
            hint="Build the corpus with a larger --holdout.",
        )
    return ReadingPair(
        candidate=find_version(store, folders[CANDIDATE]),
        champion=find_version(store, folders[CHAMPION]),
        folders=folders,
        run=run,
        corpus=title,
        texts=texts,
    )


def evaluate_reading(store: Store, pair: ReadingPair, on_progress: OnProgress) -> Report:
    """Measures both and records what came of it. Raises ModelDamaged, OutOfMemory."""
    begun = time.monotonic()
    benches = {side: (_open(folder, side), side) for side, folder in pair.folders.items()}
    step = _step(on_progress, "held-out text", 2 * len(pair.texts))
    measures: list[Measure] = list(_compare_text(pair.texts, benches, step))
    chosen: dict[str, list[Chosen]] = {}
    unasked: list[Reason] = []
    suites = [load_suite(name) for name in SUITES]
    for suite in suites:
        count = 2 * sum(1 + len(item.wrong) for item in suite.items)
        try:
            measure, chosen[suite.name] = compare_chosen(suite, benches, _step(on_progress, suite.name, count))
        except InvalidInput as error:  # a very small window
            unasked.append(Reason("undecided", error.message))
            continue
        measures.append(measure)
    reasons = [
        *judge_gain(measures[0], Data(len(pair.texts), ())),
        *judge_watched({(one.suite, one.metric): one for one in measures}),
        *_judge_format(pair),
        *unasked,
    ]
    verdict, ordered = weigh(reasons)
    needed = None
    if verdict == "undecided" and reasons[0].weight == "undecided" and measures[0].stderr is not None:
        found = needed_samples(measures[0].difference, measures[0].stderr, measures[0].n)
        needed = max(found, FEWEST, measures[0].n + 1) if found else None
    report = Report(
        id=store.evaluations.new_id(),
        created=datetime.now(UTC),
        candidate=pair.candidate.name,
        champion=pair.champion.name,
        base=pair.folders[CANDIDATE].foundation.name,
        dataset=pair.corpus,
        verdict=verdict,
        reasons=ordered,
        needed=needed,
        measures=tuple(measures),
        comparisons=tuple(_compare_writing(pair.texts, benches, _step(on_progress, "writing", 2 * _SHOWN))),
        curve=tuple(store.runs.metrics(pair.run.id, "loss")),
        held_out_curve=tuple(store.runs.metrics(pair.run.id, "held-out loss")),
        settings={"held_out": "validation", **{suite.name: suite.version for suite in suites}, "tokens": _TOKENS},
        seconds=time.monotonic() - begun,
    )
    record(store, report, pair.candidate.id, pair.champion.id, chosen)
    return report


def _open(folder: ModelFolder, side: str) -> Bench:
    adapters = {side: folder.path} if folder.kind == "adapter" else {}
    return Bench(folder.foundation, adapters, folder.load_template(answering=True))


def _compare_text(
    texts: Sequence[str], benches: Mapping[str, tuple[Bench, str]], on_progress: Callable[[int], None]
) -> list[Measure]:
    sizes = [len(text.encode()) for text in texts]
    bits: dict[str, list[float]] = {}
    perplexity: dict[str, float] = {}
    for side, (bench, name) in benches.items():
        owners, rows = [], []
        for owner, text in enumerate(texts):
            for row in _cut(bench.template, text, min(bench.window, _WINDOW)):
                owners.append(owner)
                rows.append(row)
        losses = bench.losses(name, rows)
        on_progress(len(texts))
        bits[side] = [0.0] * len(texts)
        for owner, loss in zip(owners, losses, strict=True):
            bits[side][owner] += loss.nats / _BITS
        nats, tokens = sum(loss.nats for loss in losses), sum(loss.tokens for loss in losses)
        perplexity[side] = math.exp(min(nats / max(tokens, 1), 700.0))
    series = Series([a - b for a, b in zip(bits[CANDIDATE], bits[CHAMPION], strict=True)], sizes)
    figures = [sum(bits[side]) / sum(sizes) for side in (CANDIDATE, CHAMPION)]
    interval = contrast_interval(series)
    return [
        make_measure(HELD_OUT, "bits a byte", figures[0], figures[1], len(texts), interval, "lower", unit="bits"),
        Measure(HELD_OUT, "perplexity", perplexity[CANDIDATE], perplexity[CHAMPION], len(texts), unit="of its tokens"),
    ]


def _cut(template: ChatTemplate, text: str, window: int) -> list[TrainingRow]:
    """A document as rows that fit into the window; every token but the one that begins it is predicted."""
    tokenizer = template.tokenizer
    tokenizer.encode_special_tokens = True  # what a text spells like a special token is text
    try:
        ids = list(tokenizer.encode(text, add_special_tokens=False).ids)
    finally:
        tokenizer.encode_special_tokens = False
    beginning = tokenizer.token_to_id("<|endoftext|>")
    whole = ids if beginning is None else [beginning, *ids]
    rows = []
    for start in range(0, max(len(whole) - 1, 1), window - 1):
        part = whole[start : start + window]
        rows.append(TrainingRow(tuple(part), (False, *[True] * (len(part) - 1))))
    return rows


def _compare_writing(
    texts: Sequence[str], benches: Mapping[str, tuple[Bench, str]], on_progress: Callable[[int], None]
) -> list[Comparison]:
    """The beginnings of some documents as both go on with them."""
    chosen = [text for text in texts if len(text) > 2 * _BEGINNING][:_SHOWN]
    written = {}
    for side, (bench, name) in benches.items():
        half = bench.window // 2  # at most: the rest is for what it writes
        prompts = [list(_cut(bench.template, text[:_BEGINNING], bench.window)[0].tokens[:half]) for text in chosen]
        limits = [min(_TOKENS, bench.window - len(prompt)) for prompt in prompts]
        written[side] = bench.answer(name, prompts, limits=limits, on_progress=on_progress) if prompts else []
    return [
        Comparison(text[:_BEGINNING], text[_BEGINNING : 3 * _BEGINNING], other.text, own.text)
        for text, other, own in zip(chosen, written[CHAMPION], written[CANDIDATE], strict=True)
    ]


def _judge_format(pair: ReadingPair) -> list[Reason]:
    own, other = (pair.folders[side].manifest.answers for side in (CANDIDATE, CHAMPION))
    if own == "text" and other == "chat":
        return [
            Reason(
                "undecided",
                f"{pair.candidate.name} was taught no conversation: it goes on with what it reads, and "
                f"{pair.champion.name} answers. Fine-tune it on dialogues first.",
            )
        ]
    return []


def _step(on_progress: OnProgress, title: str, total: int) -> Callable[[int], None]:
    return lambda count: on_progress(title, count, total)
