"""The same command under `accelerate launch`: two processes train what one would have trained."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from chatbot.admin.finetuning import choose_lesson
from chatbot.admin.training.config import TrainingConfig
from chatbot.admin.training.events import Event, HeldOut, Step
from chatbot.admin.training.run import train
from chatbot.config import Home, Settings
from chatbot.store.database import Store
from tests.admin.datasets.samples import make_pairs, write_alpaca
from tests.admin.training.samples import build_tiny
from tests.cli.admin.test_cycle_commands import run

LAUNCH = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1"]
PLAIN = ["--mixed_precision", "no", "--dynamo_backend", "no"]


@pytest.mark.slow
def test_two_launched_processes_make_one_run_with_the_losses_of_one(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHATBOT_MODEL", "tiny")
    build_tiny(home.models / "tiny")
    assert run("dataset", "build", "me", "--file", str(write_alpaca(tmp_path / "me.json", make_pairs(60)))).code == 0
    command = ["-m", "chatbot", "admin", "finetune", "me", "--epochs", "1", "--exact", "--json"]
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "ACCELERATE_USE_CPU": "true",
        "PYTHONPATH": str(Path(__file__).parents[3]),
    }
    whole = [sys.executable, *LAUNCH, *PLAIN, *command]
    launched = subprocess.run(whole, check=False, capture_output=True, text=True, env=environment, timeout=300)
    assert launched.returncode == 0, launched.stderr[-3000:]
    told = json.loads(launched.stdout[launched.stdout.index("{") :])
    assert told["model"] == "me-1"
    runs = run("runs", "list", "--json").json
    assert [one["status"] for one in runs] == ["complete"]
    assert not list(home.runs.glob(".launch-*"))

    events: list[Event] = []
    with Store.open(home.database_url(Settings())) as store:
        lesson = choose_lesson(store, home, "me")
        config = TrainingConfig(epochs=1.0, base_dtype="float32", accumulation=2)
        train(config, lesson.dataset, lesson.model, tmp_path / "alone", tmp_path / "adapter", events.append)
        together = store.runs.metrics(told["run"], "loss")
        looks = store.runs.metrics(told["run"], "held-out loss")
    # An odd number of passes gets an empty one more, and is then shuffled otherwise.
    assert run("finetune", "me", "--plan", "--epochs", "1", "--json").json["passes"] % 2 == 0
    alone = [(event.step, event.loss) for event in events if isinstance(event, Step)]
    assert [step for step, _ in together] == [step for step, _ in alone]
    assert [loss for _, loss in together] == pytest.approx([loss for _, loss in alone], rel=1e-3)
    assert looks[-1][1] == pytest.approx([event.loss for event in events if isinstance(event, HeldOut)][-1], rel=1e-3)
