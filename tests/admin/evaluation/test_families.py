"""Rows read as one family have the losses that they have each by itself."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from chatbot.admin.evaluation.bench import Bench
from chatbot.admin.evaluation.families import gather
from chatbot.admin.rendering import TrainingRow
from chatbot.models.add import add_model
from chatbot.models.library import ModelLibrary
from tests.models.tiny_models import build_folder


def make_rows(seed: int = 0) -> list[TrainingRow]:
    numbers = random.Random(seed)

    def draw(length: int) -> tuple[int, ...]:
        return tuple(numbers.randrange(5, 60) for _ in range(length))

    prompts = [draw(length) for length in (3, 9, 20)]
    rows = []
    for _ in range(30):
        prompt, answer = numbers.choice(prompts), draw(numbers.randrange(1, 8))
        rows.append(TrainingRow(prompt + answer, (False,) * len(prompt) + (True,) * len(answer)))
    rows.append(TrainingRow(draw(6), (False, True, True, False, False, True)))  # learnt in the middle too
    rows.append(TrainingRow(draw(5), (True,) * 5))  # nothing stands before
    return rows


def test_every_row_is_in_one_family_and_most_share() -> None:
    rows = make_rows()
    families = gather(rows)
    assert sorted(index for family in families for index in family.rows) == list(range(len(rows)))
    assert len(families) == 5
    assert sum(len(family.tokens) for family in families) < 0.5 * sum(len(row.tokens) for row in rows)
    assert len(gather(rows, shared=False)) == len(rows)
    for family in families:
        learnt = sum(sum(rows[index].learned[1:]) for index in family.rows)
        assert len(family.targets) == len(family.sources) == len(family.owners) == learnt


@pytest.mark.parametrize("kind", ["llama", "gpt2", "qwen2"])
def test_the_losses_are_the_same(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = ModelLibrary(tmp_path / "models")
    base = add_model(library, str(build_folder(tmp_path / "saved", kind)), name=kind)
    bench = Bench(base, {}, base.load_template())
    rows = make_rows()
    together = bench.losses("champion", rows)
    assert bench.shares
    monkeypatch.setattr(bench, "shares", False)
    alone = bench.losses("champion", rows)
    assert [one.tokens for one in together] == [one.tokens for one in alone]
    for one, other in zip(together, alone, strict=True):
        assert one.nats == pytest.approx(other.nats, rel=1e-4, abs=1e-4)


def test_a_model_that_heeds_no_mask_is_asked_row_by_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = ModelLibrary(tmp_path / "models")
    base = add_model(library, str(build_folder(tmp_path / "saved", "llama")), name="llama")
    bench = Bench(base, {}, base.load_template())
    rows = make_rows()
    right = [one.nats for one in bench.losses("champion", rows)]
    deaf = Bench(base, {}, base.load_template())
    read = deaf._read_states

    def read_without(tokens: object, mask: object, positions: object = None) -> object:
        return read(tokens, None if positions is not None else mask, None)

    monkeypatch.setattr(deaf, "_read_states", read_without)
    assert [one.nats for one in deaf.losses("champion", rows)] == pytest.approx(right, rel=1e-4, abs=1e-4)
    assert deaf.shares is False
