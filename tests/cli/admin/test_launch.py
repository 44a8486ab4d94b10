"""The same command under `accelerate launch`: several processes train what one would have trained."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from chatbot.config import Home, Settings
from chatbot.store.database import Store
from tests.admin.datasets.samples import make_pairs, write_alpaca
from tests.admin.training.samples import build_tiny
from tests.cli.admin.test_cycle_commands import run

LAUNCH = ["-m", "accelerate.commands.launch", "--num_processes", "2", "--num_machines", "1"]
PLAIN = ["--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
COMMAND = ["-m", "chatbot", "admin", "finetune", "me", "--epochs", "1", "--exact", "--json"]


def launch(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "ACCELERATE_USE_CPU": "true",
        "PYTHONPATH": str(Path(__file__).parents[3]),
    }
    whole = [sys.executable, *arguments]
    return subprocess.run(whole, check=False, capture_output=True, text=True, env=environment, timeout=300)


@pytest.mark.slow
def test_launched_processes_make_one_run_with_the_steps_and_losses_of_one(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHATBOT_MODEL", "tiny")
    build_tiny(home.models / "tiny")
    assert run("dataset", "build", "me", "--file", str(write_alpaca(tmp_path / "me.json", make_pairs(60)))).code == 0
    told = []
    for flags in ([], [*LAUNCH, "--multi_gpu", *PLAIN], [*LAUNCH, "--use_fsdp", *PLAIN]):
        done = launch(*flags, *COMMAND)
        assert done.returncode == 0, done.stderr[-3000:]
        told.append(json.loads(done.stdout[done.stdout.index("{") :]))
    assert [one["model"] for one in told] == ["me-1", "me-2", "me-3"]
    assert [one["status"] for one in run("runs", "list", "--json").json] == ["complete"] * 3
    assert not list(home.runs.glob(".launch-*"))
    with Store.open(home.database_url(Settings())) as store:
        names = ("loss", "held-out loss")
        alone, *others = [[store.runs.metrics(one["run"], name) for name in names] for one in told]
    assert len(alone[0]) > 2
    for together in others:
        for expected, found in zip(alone, together, strict=True):
            assert [step for step, _ in found] == [step for step, _ in expected]
            assert [loss for _, loss in found] == pytest.approx([loss for _, loss in expected], rel=1e-4)


def test_a_plan_is_made_by_one_process(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        refused = run("finetune", "me", "--plan")
        assert refused.code == 8
        assert "without the launcher" in refused.err
