"""Losses and replies on the bench are those of transformers and peft, whoever else is in the batch."""

from __future__ import annotations

from pathlib import Path

import pytest

from chatbot.admin.datasets.items import Turn
from chatbot.admin.evaluation.bench import Bench
from chatbot.admin.rendering import TrainingRow, render_prompt, render_row
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
    together = bench.answer("candidate", prompts, limit=6)
    for place, prompt in enumerate(prompts):
        alone = bench.answer("candidate", [prompt], limit=6)[0]
        assert alone.text == together[place].text
        assert alone.tokens <= 6
        assert alone.ended == (alone.tokens < 6)
    assert [one.text for one in bench.answer("champion", prompts, limit=6)] != [one.text for one in together]


def test_rows_without_a_learnt_token_have_no_loss(bench: Bench, rows: list[TrainingRow], tmp_path: Path) -> None:
    empty = TrainingRow(rows[0].tokens, (False,) * len(rows[0].tokens))
    found = bench.losses("champion", [empty, rows[1]])
    assert (found[0].nats, found[0].tokens, found[0].mean) == (0.0, 0, 0.0)
    assert found[1].nats > 0
