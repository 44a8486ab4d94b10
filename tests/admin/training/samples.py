"""What the training tests train and train on; also used by the processes that they start and kill."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chatbot.admin.datasets.folder import DatasetFolder, write_folder
from chatbot.admin.datasets.freezing import freeze
from chatbot.admin.datasets.items import Item, LabelItem, PreferenceItem, SftItem, Split, Turn
from chatbot.admin.training.config import TrainingConfig
from chatbot.admin.training.events import Event
from chatbot.admin.training.job import read_job, settle, write_job
from chatbot.admin.training.run import Outcome, Target, run_job
from chatbot.config import Home, Settings
from chatbot.files import hash_file, make_private_folder
from chatbot.models.library import ModelFolder, ModelLibrary
from chatbot.store.database import Store
from chatbot.store.migrations import open_upgraded
from tests.engine.conftest import build_model

QUESTIONS = ["Why is the sky blue?", "天空", "What scatters light?", "Is air blue?", "Name a colour."]
ANSWERS = ["The air scatters light.", "因为空气", "Light.", "Blue is scattered because the air scatters.", "Blue!"]


def build_tiny(folder: Path) -> ModelFolder:
    build_model(folder, width=32, layers=2)
    return ModelLibrary(folder.parent).find(folder.name)


def build_dataset(
    folder: Path, base: ModelFolder, kind: str, rows: int, *, held_out: int = 3, recipe: dict[str, Any] | None = None
) -> DatasetFolder:
    items, about = describe_dataset(base, kind, rows, held_out=held_out, recipe=recipe)
    return write_folder(folder, items, number=1, **about)


def describe_dataset(
    base: ModelFolder, kind: str, rows: int, *, held_out: int = 3, recipe: dict[str, Any] | None = None
) -> tuple[dict[Split, list[Item]], dict[str, Any]]:
    """The items of a dataset by split, and what its manifest says of them."""
    makers: dict[str, Callable[[int], Item]] = {"sft": _make_sft, "preference": _make_preference, "label": _make_label}
    maker = makers[kind]
    return {"train": [maker(number) for number in range(rows)], "validation": [maker(n) for n in range(held_out)]}, {
        "name": "tiny",
        "kind": kind,
        "model": base.name,
        "template_sha256": base.template_sha,
        "tokenizer_sha256": hash_file(base.path / "tokenizer.json"),
        "recipe": recipe or {},
        "counts": {},
        "created": "2026-01-01T00:00:00Z",
    }


def open_home(folder: Path) -> Home:
    return Home(config=folder, data=folder, state=folder, runtime=folder)


@contextmanager
def open_store(home: Home) -> Iterator[Store]:
    """The database of `home`, in a file as a command has it."""
    with open_upgraded(home.database_url(Settings(model="tiny"))) as store:
        yield store


def furnish(home: Home, base: ModelFolder, kind: str = "sft", rows: int = 12, **options: Any) -> None:
    """A home with the tiny model, and a frozen dataset for it."""
    home.models.mkdir(parents=True)
    shutil.copytree(base.path, home.models / base.name)
    items, about = describe_dataset(base, kind, rows, **options)
    with open_store(home) as store:
        freeze(store, home, items, **about)


def small(**changes: Any) -> TrainingConfig:
    """Quick on the tiny model, and exact: one thread, float32."""
    usual = {
        "rank": 4, "learning_rate": 1e-2, "epochs": 2.0, "batch_tokens": 64, "evaluate_every": 3, "patience": 0,
        "checkpoint_every": 2, "base_dtype": "float32", "threads": 1, "sample_tokens": 4, "max_length": 256,
        "batch_rows": 2,
    }  # fmt: skip
    return TrainingConfig(**{**usual, **changes})


def train(
    config: TrainingConfig,
    dataset: DatasetFolder,
    model: ModelFolder,
    folder: Path,
    target: Target,
    report: Callable[[Event], None] = lambda _: None,
    *,
    parent: Path | None = None,
) -> Outcome:
    """A run in `folder` from the beginning, without a database."""
    job = settle(config, dataset, model, parent)
    make_private_folder(folder)
    write_job(folder, job)
    return run_job(job, folder, target, report)


def go_on(folder: Path, target: Target, report: Callable[[Event], None] = lambda _: None) -> Outcome:
    """The run in `folder` from where it was."""
    return run_job(read_job(folder), folder, target, report, resume=True)


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
