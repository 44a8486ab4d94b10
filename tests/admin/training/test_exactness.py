"""Packing, labels-only loss and scoring without padding give the numbers of the plain way."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from chatbot.admin.rendering import TrainingRow
from chatbot.admin.training.attention import NAME, choose_attention, register_attention
from chatbot.admin.training.loss import learn_only_labels, sum_losses
from chatbot.admin.training.rows import join_rows, make_columns, pack_rows
from chatbot.models.library import ModelFolder


def make_rows(count: int, *, seed: int = 3) -> list[TrainingRow]:
    """Random tokens, a random part of each row learnt, the last token always."""
    dice = random.Random(seed)
    rows = []
    for _ in range(count):
        length = dice.randint(2, 30)
        learned = [dice.random() < 0.5 for _ in range(length - 1)]
        rows.append(TrainingRow(tuple(dice.randrange(3, 300) for _ in range(length)), (*learned, True)))
    return rows


def load(base: ModelFolder, attention: str) -> Any:
    register_attention()
    return AutoModelForCausalLM.from_pretrained(base.path, dtype=torch.float32, attn_implementation=attention).eval()


def collate(rows: list[TrainingRow]) -> dict[str, Any]:
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    columns = make_columns([join_rows(rows)])
    example = {name: values[0] for name, values in columns.items()}
    collated: dict[str, Any] = DataCollatorForLanguageModeling(pad_token_id=0, padding_free=True)([example])
    return collated


def measure_alone(model: Any, row: TrainingRow) -> float:
    """The summed loss of a row by itself, from all its logits."""
    logits = model(input_ids=torch.tensor([row.tokens])).logits[0, :-1]
    loss = torch.nn.functional.cross_entropy(logits, torch.tensor(row.labels[1:]), reduction="sum")
    return float(loss.detach())


@pytest.mark.parametrize("attention", [NAME, "sdpa", "eager"])
def test_the_loss_of_a_packed_row_is_that_of_its_rows_alone(base: ModelFolder, attention: str) -> None:
    rows = make_rows(9)
    plain = load(base, "eager")
    expected = sum(measure_alone(plain, row) for row in rows)
    packed = load(base, attention)
    learn_only_labels(packed)
    with torch.no_grad():
        summed, count = packed(**collate(rows), learnt_loss=True)
    assert int(count) == sum(sum(row.learned[1:]) for row in rows)
    assert float(summed) == pytest.approx(expected, rel=1e-5)


def test_no_row_sees_another(base: ModelFolder) -> None:
    first, second, other = make_rows(3)
    model = load(base, NAME)
    with torch.no_grad():
        here = model(**without_labels(collate([first, second]))).logits[0, len(first.tokens) :]
        there = model(**without_labels(collate([other, second]))).logits[0, len(other.tokens) :]
    assert torch.equal(here, there)


def without_labels(inputs: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in inputs.items() if name != "labels"}


def test_the_loss_of_labels_alone_has_the_full_loss_and_its_gradient() -> None:
    torch.manual_seed(0)
    weight = torch.randn(50, 8)
    labels = torch.randint(0, 50, (600,))
    for bias in (None, torch.randn(50)):
        ours = torch.randn(600, 8, requires_grad=True)
        theirs = ours.detach().clone().requires_grad_()
        loss = sum_losses(ours, weight, bias, labels) / 7
        expected = torch.nn.functional.cross_entropy(
            torch.nn.functional.linear(theirs, weight, bias), labels, reduction="sum"
        )
        (expected / 7).backward()
        loss.backward()
        assert ours.grad is not None
        assert theirs.grad is not None
        torch.testing.assert_close(loss.detach(), expected.detach() / 7)
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-5)


def test_a_batch_with_nothing_to_learn_still_has_a_gradient(base: ModelFolder) -> None:
    model = load(base, NAME)
    learn_only_labels(model)
    summed, count = model(
        **collate([TrainingRow((5,), (False,)), TrainingRow((7, 8), (False, False))]), learnt_loss=True
    )
    assert float(summed.detach()) == 0
    assert int(count) == 0
    summed.backward()
    assert not model.get_input_embeddings().weight.grad.any()


def test_replies_are_scored_as_in_a_padded_batch(base: ModelFolder) -> None:
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    from chatbot.admin.training.scoring import score_only_replies

    rows = make_rows(5)
    model = load(base, NAME)
    score_only_replies(model)
    batch = DataCollatorForLanguageModeling(pad_token_id=0)(
        [{"input_ids": list(row.tokens), "labels": row.labels} for row in rows]
    )
    with torch.no_grad():
        scores = model(**batch, fused_lm_head=True, use_cache=False).log_probs.sum(1)
    plain = load(base, "eager")
    for row, score in zip(rows, scores, strict=True):
        assert float(score) == pytest.approx(-measure_alone(plain, row), rel=1e-5)


def test_packing_keeps_every_row_once_and_wastes_little() -> None:
    rows = make_rows(400)
    packed = pack_rows(rows, 128, seed=5)
    assert sorted(token for row in packed for token in row.tokens) == sorted(t for row in rows for t in row.tokens)
    assert all(len(row.tokens) == sum(row.lengths) == len(row.labels) <= 128 for row in packed)
    assert sum(len(row.tokens) for row in rows) / (128 * len(packed)) > 0.97
    assert packed == pack_rows(rows, 128, seed=5)
    assert packed != pack_rows(rows, 128, seed=6)
    assert max(len(row.tokens) for row in pack_rows(rows, 8)) == max(len(row.tokens) for row in rows)


def test_attention_by_rows_is_left_to_models_that_have_no_more_than_causal_attention() -> None:
    from transformers import Gemma2Config, LlamaConfig, MistralConfig

    assert choose_attention(LlamaConfig(), device="cpu", longest=1024) == NAME
    assert choose_attention(LlamaConfig(), device="cuda", longest=1024) == "sdpa"
    assert choose_attention(MistralConfig(sliding_window=512), device="cpu", longest=1024) == "sdpa"
    assert choose_attention(MistralConfig(sliding_window=4096), device="cpu", longest=1024) == NAME
    assert choose_attention(Gemma2Config(), device="cpu", longest=1024) == "eager"
