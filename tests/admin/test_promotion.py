"""Only what the gate calls better is promoted by itself, and only what can answer is promoted at all."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chatbot.admin.promotion import promote, read_gate, resolve_name, roll_back
from chatbot.config import Home, Settings
from chatbot.engine.scripted import ScriptedEngine
from chatbot.errors import EngineLost, InvalidInput, ModelDamaged, NotFound, PromotionRefused
from chatbot.models.library import ModelLibrary
from chatbot.store.database import Store
from chatbot.store.evaluations import GATE, Score
from tests.admin.training.samples import build_tiny
from tests.models.tiny_adapters import add_adapter
from tests.store.sample import add_adapter_version

SETTINGS = Settings(model="tiny")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base and two adapters of it."""
    folder = tmp_path_factory.mktemp("models")
    build_tiny(folder / "tiny")
    for number, name in enumerate(("talks-1", "talks-2")):
        add_adapter(ModelLibrary(folder), "tiny", name, tmp_path_factory.mktemp("saved"), seed=number)
    return folder


@pytest.fixture
def home(tmp_path: Path, models: Path) -> Home:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "models").symlink_to(models)
    return Home(config=tmp_path, data=tmp_path / "data", state=tmp_path, runtime=tmp_path)


@pytest.fixture
def store(home: Home) -> Iterator[Store]:
    with Store.in_memory() as store:
        library = ModelLibrary(home.models)
        for folder in library.list():
            if folder.kind == "base":
                store.model_versions.find_or_add_base(
                    folder.name, sha256=folder.sha256, template_sha=folder.template_sha, path=str(folder.path)
                )
            else:
                version = add_adapter_version(
                    store,
                    folder.name,
                    run_id=None,
                    path=str(folder.path),
                    sha256=folder.sha256,
                    base_sha=folder.manifest.base_sha256,
                    template_sha=folder.template_sha,
                    tokenizer_sha=folder.manifest.tokenizer_sha256,
                )
                store.aliases.nominate(version, author="ada", reason="trained")
        yield store


def say(store: Store, value: float, *, candidate: str = "talks-2", champion: str = "tiny") -> None:
    ids = [store.model_versions.find(name).id for name in (candidate, champion)]
    reasons: tuple[tuple[str, str, dict[str, object]], ...] = (("worse", "It forgets.", {}),) if value < 1 else ()
    scores = [Score(GATE, "1", "verdict", value, 0.0, None, 20, reasons)]
    store.evaluations.add(store.evaluations.new_id(), ids[0], ids[1], scores)


def answers(*replies: str | Exception) -> Callable[[], ScriptedEngine]:
    return lambda: ScriptedEngine([list(replies)])


def test_what_was_not_measured_is_refused(store: Store, home: Home) -> None:
    name = resolve_name(store, SETTINGS, "candidate")
    assert name == "talks-2"
    with pytest.raises(PromotionRefused, match="was not compared with tiny"):
        promote(store, home, SETTINGS, name, open_engine=answers("Hi."), author="ada")
    say(store, 1.0, candidate="talks-2", champion="talks-1")
    with pytest.raises(PromotionRefused, match="was not compared with tiny"):
        promote(store, home, SETTINGS, name, open_engine=answers("Hi."), author="ada")
    assert read_gate(store, home, SETTINGS, name) is None


@pytest.mark.parametrize(("value", "verdict"), [(-1.0, "worse"), (0.0, "undecided")])
def test_the_gates_no_counts_until_a_reason_passes_over_it(
    store: Store, home: Home, value: float, verdict: str
) -> None:
    say(store, 1.0)
    say(store, value)  # the newest word counts
    with pytest.raises(PromotionRefused, match=f"says {verdict}.*It forgets"):
        promote(store, home, SETTINGS, "talks-2", open_engine=answers("Hi."), author="ada")
    with pytest.raises(InvalidInput, match="reason"):
        promote(store, home, SETTINGS, "talks-2", open_engine=answers("Hi."), author="ada", force=True, reason=" ")
    assert store.model_versions.champion() is None
    done = promote(
        store, home, SETTINGS, "talks-2", open_engine=answers("Hi."), author="ada", force=True, reason="We want it."
    )
    assert (done.left, done.reached, done.smoke) == ("tiny", "talks-2", "Hi.")
    assert store.aliases.journal()[0].reason == "forced: We want it."


def test_a_promotion_is_taken_back_and_back_again(store: Store, home: Home) -> None:
    say(store, 1.0)
    promote(store, home, SETTINGS, "talks-2", open_engine=answers("Hi."), author="ada")
    assert store.aliases.all() == {"champion": "talks-2", "previous": "tiny"}
    with pytest.raises(PromotionRefused, match="answers already"):
        promote(store, home, SETTINGS, "talks-2", open_engine=answers("Hi."), author="ada")
    assert roll_back(store, home, SETTINGS, author="ada").reached == "tiny"
    assert store.model_versions.champion() == "tiny"
    assert roll_back(store, home, SETTINGS, author="ada").reached == "talks-2"


@pytest.mark.parametrize("replies", [("",), (EngineLost("It died."),), ("  \n",)])
def test_what_cannot_answer_never_answers(store: Store, home: Home, replies: tuple[str | Exception, ...]) -> None:
    say(store, 1.0)
    engines = []

    def open_engine() -> ScriptedEngine:
        engines.append(ScriptedEngine([list(replies)]))
        return engines[-1]

    with pytest.raises(PromotionRefused):
        promote(store, home, SETTINGS, "talks-2", open_engine=open_engine, author="ada")
    assert engines[0].requests[0].model == "talks-2"
    assert store.model_versions.champion() is None


def test_a_damaged_adapter_is_named_and_the_old_one_stays(store: Store, home: Home, models: Path) -> None:
    say(store, 1.0)
    path = models / "talks-2" / "adapter_model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    try:
        with pytest.raises(ModelDamaged, match="adapter_model"):
            promote(store, home, SETTINGS, "talks-2", open_engine=answers("Hi."), author="ada")
    finally:
        path.write_bytes(content)
    assert store.model_versions.champion() is None


def test_without_anything_promoted_there_is_no_way_back(store: Store, home: Home) -> None:
    with pytest.raises(NotFound, match="There is no previous"):
        roll_back(store, home, SETTINGS, author="ada")
    assert resolve_name(store, SETTINGS, "champion") == "tiny"


def test_an_adapter_that_was_exchanged_is_not_promoted(store: Store, home: Home, models: Path, tmp_path: Path) -> None:
    """A whole adapter, but not the one that was trained and measured under this name."""
    say(store, 1.0)
    kept = tmp_path / "kept"
    (models / "talks-2").rename(kept)
    try:
        add_adapter(ModelLibrary(models), "tiny", "talks-2", tmp_path / "saved", seed=7)
        with pytest.raises(ModelDamaged, match="not the talks-2 that was trained"):
            promote(store, home, SETTINGS, "talks-2", open_engine=answers("Hi."), author="ada")
    finally:
        shutil.rmtree(models / "talks-2")
        kept.rename(models / "talks-2")
    assert store.model_versions.champion() is None


def test_a_champion_that_changed_during_the_smoke_reply_is_not_overrun(store: Store, home: Home) -> None:
    say(store, 1.0)
    other = store.model_versions.find("talks-1").id
    base = store.model_versions.find("tiny").id

    class Meanwhile(ScriptedEngine):
        async def close(self) -> None:
            await super().close()
            store.aliases.promote(other, over=base, author="bob", reason="first")

    with pytest.raises(PromotionRefused, match="meanwhile"):
        promote(store, home, SETTINGS, "talks-2", open_engine=lambda: Meanwhile([["Hi."]]), author="ada")
    assert store.aliases.all() == {"champion": "talks-1", "previous": "tiny", "candidate": "talks-2"}


@pytest.mark.parametrize("exchanged", [False, True])
def test_a_champion_that_is_gone_or_exchanged_can_be_replaced_with_a_reason(
    store: Store, home: Home, models: Path, tmp_path: Path, exchanged: bool
) -> None:
    say(store, 1.0, candidate="talks-1")
    promote(store, home, SETTINGS, "talks-1", open_engine=answers("Hi."), author="ada")
    say(store, 1.0, candidate="talks-2", champion="talks-1")
    (models / "talks-1").rename(tmp_path / "kept")
    try:
        if exchanged:
            add_adapter(ModelLibrary(models), "tiny", "talks-1", tmp_path / "saved", seed=7)
        with pytest.raises(PromotionRefused, match="not as it was promoted") as refused:
            promote(store, home, SETTINGS, "talks-2", open_engine=answers("Hi."), author="ada")
        assert "--force" in refused.value.hint
        assert store.model_versions.champion() == "talks-1"
        done = promote(
            store, home, SETTINGS, "talks-2", open_engine=answers("Hi."), author="ada", force=True, reason="It is gone."
        )
    finally:
        shutil.rmtree(models / "talks-1", ignore_errors=True)
        (tmp_path / "kept").rename(models / "talks-1")
    assert (done.left, done.reached) == ("talks-1", "talks-2")
    assert store.aliases.all() == {"champion": "talks-2", "previous": "talks-1"}


def test_going_back_to_what_learnt_forgotten_words_is_told_and_recorded(
    store: Store, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, champion in (("talks-1", "tiny"), ("talks-2", "talks-1")):
        say(store, 1.0, candidate=name, champion=champion)
        promote(store, home, SETTINGS, name, open_engine=answers("Hi."), author="ada")
    version = store.model_versions.find("talks-1").id
    monkeypatch.setattr(store.lineage, "stale", lambda: {version: ("talks/1",)})
    assert roll_back(store, home, SETTINGS, author="ada", reason="Too curt.").forgotten == ("talks/1",)
    assert store.aliases.journal()[0].reason == "Too curt. (it learnt what was since forgotten, in talks/1)"
    assert roll_back(store, home, SETTINGS, author="ada").forgotten == ()
    assert store.aliases.journal()[0].reason == "rolled back"


def test_what_learnt_forgotten_words_is_promoted_only_with_a_reason(
    store: Store, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(store, 1.0)
    version = store.model_versions.find("talks-2").id
    monkeypatch.setattr(store.lineage, "stale", lambda: {version: ("talks/1",)})
    with pytest.raises(PromotionRefused, match="since forgotten, in talks/1"):
        promote(store, home, SETTINGS, "talks-2", open_engine=answers("Hi."), author="ada")
    done = promote(
        store, home, SETTINGS, "talks-2", open_engine=answers("Hi."), author="ada", force=True, reason="None better"
    )
    assert done.forgotten == ("talks/1",)
    assert store.model_versions.champion() == "talks-2"
