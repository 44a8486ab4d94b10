"""Who is compared is what its row says, and is asked about all that was held out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from chatbot.admin.datasets.freezing import freeze
from chatbot.admin.datasets.items import Item, SftItem, Split, Turn
from chatbot.admin.evaluation import comparing
from chatbot.admin.evaluation.bench import Bench
from chatbot.admin.evaluation.comparing import Limits, evaluate, pair
from chatbot.admin.evaluation.gate import decide
from chatbot.admin.evaluation.questions import Question
from chatbot.admin.evaluation.records import Reason, Verdict
from chatbot.admin.evaluation.weights import FINEST, Weights
from chatbot.config import Home
from chatbot.errors import ModelDamaged
from chatbot.files import hash_file
from chatbot.models.library import ModelFolder, ModelLibrary
from chatbot.store.database import Store
from chatbot.store.runs import RunInput
from tests.admin.evaluation.benches import make_stub
from tests.admin.training.samples import build_tiny, open_home
from tests.models.tiny_adapters import add_adapter
from tests.store.sample import add_adapter_version


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return open_home(tmp_path)


@pytest.fixture
def base(home: Home) -> ModelFolder:
    return build_tiny(home.models / "tiny")


@pytest.fixture
def store() -> Iterator[Store]:
    with Store.in_memory() as store:
        yield store


def make_item(number: int, group: str, answer: str) -> SftItem:
    turns = (Turn(role="user", content=f"Question {number}?"), Turn(role="assistant", content=answer, learn=True))
    return SftItem(id=str(number), source="chat", group=group, turns=turns)


def register(store: Store, home: Home, base: ModelFolder, test: Sequence[Item], **config: Any) -> ModelFolder:
    """An adapter as if it had been trained here, of which `test` is held out."""
    splits: dict[Split, list[Item]] = {"train": [make_item(999, "train", "air")], "test": list(test)}
    about: dict[str, Any] = {
        "name": "tiny", "kind": "sft", "model": base.name, "template_sha256": base.template_sha,
        "tokenizer_sha256": hash_file(base.path / "tokenizer.json"), "recipe": {}, "counts": {},
        "created": "2026-01-01T00:00:00Z",
    }  # fmt: skip
    freeze(store, home, splits, **about)
    version = next(iter(store.datasets.versions("tiny")))
    run = store.runs.add(
        "sft", base_model="tiny", parent_version_id=None, config=config, seed=1, versions={}, device="cpu",
        inputs=[RunInput(version.id, "train")],
    )  # fmt: skip
    adapter = add_adapter(ModelLibrary(home.models), "tiny", "tiny-1", home.data / "saved", size=0.3)
    add_adapter_version(store,
        "tiny-1", run_id=run, path=str(adapter.path), sha256=adapter.sha256, base_sha=base.sha256,
        template_sha=base.template_sha, tokenizer_sha="",
    )  # fmt: skip
    return adapter


TALK = [make_item(number, "talk", f"answer {number}") for number in range(20)]
OTHERS = [make_item(number, str(number), "air") for number in range(100, 112)]


def test_weights_that_were_exchanged_are_not_measured_under_the_name(
    store: Store, home: Home, base: ModelFolder
) -> None:
    register(store, home, base, OTHERS)
    assert pair(store, home, "tiny-1", against="tiny", limits=Limits()).candidate.name == "tiny-1"
    library = ModelLibrary(home.models)
    (home.models / "tiny-1").rename(home.data / "away")
    add_adapter(library, "tiny", "tiny-1", home.data / "other", size=0.5, seed=9)
    with pytest.raises(ModelDamaged, match="not the tiny-1 that was trained"):
        pair(store, home, "tiny-1", against="tiny", limits=Limits())


def test_the_weights_may_stand_as_they_were_trained(store: Store, home: Home, base: ModelFolder) -> None:
    register(store, home, base, OTHERS, dtype="bfloat16", config={"quantize": False})
    pairing = pair(store, home, "tiny-1", against="tiny", limits=Limits())
    assert pairing.formats == (FINEST, Weights("bfloat16"))


def test_all_conversations_are_asked_about_before_one_is_asked_twice(
    store: Store, home: Home, base: ModelFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(store, home, base, [*TALK, *OTHERS])
    bench = make_stub(tmp_path / "stub", lambda side, *_: 1.0 + (side == "champion"))
    heard: list[Sequence[Question]] = []

    def listen(*told: Any) -> tuple[Verdict, tuple[Reason, ...]]:
        heard.append(told[-1])
        return decide(*told)

    opened: list[Any] = []

    def open_bench(*given: Any) -> Bench:
        opened.extend(given)
        return bench

    monkeypatch.setattr(comparing, "Bench", open_bench)
    monkeypatch.setattr(comparing, "decide", listen)
    limits = Limits(replies=13)
    pairing = pair(store, home, "tiny-1", against="tiny", limits=limits)
    report = evaluate(store, pairing, limits=limits, on_progress=lambda *_: None)
    assert [one.prompt for one in report.comparisons] == ["Question 0?", *(f"Question {n}?" for n in range(100, 112))]
    assert [question.prompt for question in heard[0]] == [one.prompt for one in report.comparisons]
    assert pairing.formats in opened
    assert (report.settings or {})["weights"] == "float32"
