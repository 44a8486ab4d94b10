"""Losses and replies on the bench are those of transformers and peft, whoever else is in the batch."""

from __future__ import annotations

from pathlib import Path

import pytest

from chatbot.admin.datasets.items import Turn
from chatbot.admin.evaluation.bench import Bench
from chatbot.admin.rendering import TrainingRow, render_prompt, render_row
from chatbot.errors import OutOfMemory
from chatbot.models.library import ModelFolder, ModelLibrary
from tests.admin.training.samples import ANSWERS, QUESTIONS, build_tiny
from tests.models.tiny_adapters import add_adapter, reload_with_peft


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    return build_tiny(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def adapter(base: ModelFolder, tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    library = ModelLibrary(base.path.parent)
    return add_adapter(library, "tiny", "talks.1-1", tmp_path_factory.mktemp("saved"), size=0.3)


@pytest.fixture(scope="module")
def bench(base: ModelFolder, adapter: ModelFolder) -> Bench:
    return Bench(base, {"candidate": adapter.path}, base.load_template())


@pytest.fixture(scope="module")
def rows(base: ModelFolder) -> list[TrainingRow]:
    template = base.load_template()
    return [
        render_row(template, [Turn(role="user", content=ask), Turn(role="assistant", content=answer, learn=True)])
        for ask, answer in zip(QUESTIONS, ANSWERS, strict=True)
    ]


def test_losses_are_those_of_the_plain_models(
    bench: Bench, rows: list[TrainingRow], base: ModelFolder, adapter: ModelFolder
) -> None:
    import torch

    tuned = reload_with_peft(base.path, adapter.path)
    found = {side: bench.losses(side, rows) for side in ("candidate", "champion")}
    for place, row in enumerate(rows):
        ids, labels = torch.tensor([row.tokens]), torch.tensor([row.labels])
        with torch.no_grad():
            expected = {"candidate": tuned(input_ids=ids, labels=labels).loss}
            with tuned.disable_adapter():
                expected["champion"] = tuned(input_ids=ids, labels=labels).loss
        for side, loss in expected.items():
            assert found[side][place].tokens == sum(row.learned)
            assert found[side][place].mean == pytest.approx(float(loss), abs=1e-4)
    assert found["candidate"] != found["champion"]


def test_a_row_has_the_same_loss_alone_and_in_a_batch(bench: Bench, rows: list[TrainingRow]) -> None:
    together = bench.losses("candidate", rows)
    heard: list[int] = []
    for place, row in enumerate(rows):
        assert bench.losses("candidate", [row], heard.append)[0].nats == pytest.approx(together[place].nats, abs=1e-3)
    assert sum(heard) == len(rows)


def test_replies_are_greedy_and_know_how_they_ended(bench: Bench, base: ModelFolder) -> None:
    template = base.load_template()
    prompts = [render_prompt(template, [Turn(role="user", content=question)]) for question in QUESTIONS]
    limits = [6] * len(prompts)
    together = bench.answer("candidate", prompts, limits=limits)
    for place, prompt in enumerate(prompts):
        alone = bench.answer("candidate", [prompt], limits=[6])[0]
        assert alone.text == together[place].text
        assert alone.tokens <= 6
        assert alone.ended == (alone.tokens < 6)
    assert [one.text for one in bench.answer("champion", prompts, limits=limits)] != [one.text for one in together]


def test_rows_without_a_learnt_token_have_no_loss(bench: Bench, rows: list[TrainingRow], tmp_path: Path) -> None:
    empty = TrainingRow(rows[0].tokens, (False,) * len(rows[0].tokens))
    found = bench.losses("champion", [empty, rows[1]])
    assert (found[0].nats, found[0].tokens, found[0].mean) == (0.0, 0, 0.0)
    assert found[1].nats > 0


def test_each_reply_has_a_limit_of_its_own(bench: Bench, base: ModelFolder) -> None:
    template = base.load_template()
    prompts = [render_prompt(template, [Turn(role="user", content=question)]) for question in QUESTIONS]
    limits = [1, 12, 3, 7, 5]
    together = bench.answer("candidate", prompts, limits=limits)
    for prompt, limit, reply in zip(prompts, limits, together, strict=True):
        assert reply.tokens <= limit
        assert reply.text == bench.answer("candidate", [prompt], limits=[limit])[0].text
        assert reply.ended == (reply.tokens < limit)


def test_what_does_not_fit_into_memory_is_made_in_halves(
    bench: Bench, rows: list[TrainingRow], base: ModelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = base.load_template()
    prompts = [render_prompt(template, [Turn(role="user", content=question)]) for question in QUESTIONS]
    before = bench.losses("candidate", rows), bench.answer("candidate", prompts, limits=[4] * 5)
    sizes: list[int] = []

    def limit(name: str, most: int) -> None:
        whole = getattr(Bench, name)

        def make(self: Bench, batch: list[object]) -> object:
            sizes.append(len(batch))
            if len(batch) > most:
                raise RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate")
            return whole(self, batch)

        monkeypatch.setattr(Bench, name, make)

    for most in (2, 1):
        limit("_sum_losses", most)
        limit("_answer_batch", most)
        sizes.clear()
        after = bench.losses("candidate", rows), bench.answer("candidate", prompts, limits=[4] * 5)
        assert max(sizes) > most
        assert [one.nats for one in after[0]] == pytest.approx([one.nats for one in before[0]], abs=1e-3)
        assert [one.text for one in after[1]] == [one.text for one in before[1]]
    limit("_sum_losses", 0)
    with pytest.raises(OutOfMemory, match="One row"):
        bench.losses("candidate", rows)


def test_other_faults_than_memory_are_not_hidden(
    bench: Bench, rows: list[TrainingRow], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("something else")

    monkeypatch.setattr(Bench, "_sum_losses", fail)
    with pytest.raises(RuntimeError, match="something else"):
        bench.losses("candidate", rows)
