"""What the training tests train and train on; also used by the processes that they start and kill."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from chatbot.admin.datasets.folder import DatasetFolder, write_folder
from chatbot.admin.datasets.items import Item, LabelItem, PreferenceItem, SftItem, Turn
from chatbot.admin.training.config import TrainingConfig
from chatbot.files import hash_file
from chatbot.models.library import ModelFolder, ModelLibrary
from tests.engine.conftest import build_model

QUESTIONS = ["Why is the sky blue?", "天空", "What scatters light?", "Is air blue?", "Name a colour."]
ANSWERS = ["The air scatters light.", "因为空气", "Light.", "Blue is scattered because the air scatters.", "Blue!"]


def build_tiny(folder: Path) -> ModelFolder:
    build_model(folder, width=32, layers=2)
    return ModelLibrary(folder.parent).find(folder.name)


def build_dataset(folder: Path, base: ModelFolder, kind: str, rows: int, *, held_out: int = 3) -> DatasetFolder:
    makers: dict[str, Callable[[int], Item]] = {"sft": _make_sft, "preference": _make_preference, "label": _make_label}
    maker = makers[kind]
    return write_folder(
        folder,
        {"train": [maker(number) for number in range(rows)], "validation": [maker(n) for n in range(held_out)]},
        name="tiny",
        number=1,
        kind=kind,
        model=base.name,
        template_sha256=base.template_sha,
        tokenizer_sha256=hash_file(base.path / "tokenizer.json"),
        recipe={},
        counts={},
        created="2026-01-01T00:00:00Z",
    )


def small(**changes: Any) -> TrainingConfig:
    """Quick on the tiny model, and exact: one thread, float32."""
    usual = {
        "rank": 4, "learning_rate": 1e-2, "epochs": 2.0, "batch_tokens": 64, "evaluate_every": 3, "patience": 0,
        "checkpoint_every": 2, "base_dtype": "float32", "threads": 1, "sample_tokens": 4, "max_length": 256,
        "batch_rows": 2,
    }  # fmt: skip
    return TrainingConfig(**{**usual, **changes})


def _ask(number: int) -> dict[str, Any]:
    turns = (Turn(role="system", content=""), Turn(role="user", content=f"{QUESTIONS[number % 5]} {number}"))
    return {"id": str(number), "source": "chat", "group": str(number), "turns": turns}


def _answer(number: int) -> str:
    return ANSWERS[number % 5] * (1 + number % 3)


def _make_sft(number: int) -> SftItem:
    asked = _ask(number)
    reply = Turn(role="assistant", content=_answer(number), learn=True)
    return SftItem(**{**asked, "turns": (*asked["turns"], reply)})


def _make_preference(number: int) -> PreferenceItem:
    return PreferenceItem(**_ask(number), chosen=_answer(number), rejected="because because")


def _make_label(number: int) -> LabelItem:
    good = number % 2 == 0
    return LabelItem(**_ask(number), reply=_answer(number) if good else "because because", good=good)
