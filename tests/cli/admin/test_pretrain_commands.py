"""`pretrain` as a person meets it: what it refuses before anything is done."""

from __future__ import annotations

import pytest

from tests.cli.admin.test_cycle_commands import run


def test_a_run_that_goes_on_takes_nothing_else() -> None:
    refused = run("pretrain", "--resume", "01a2", "--tokens", "5M", "--corpus", "novels")
    assert refused.code == 8
    assert "--corpus, --tokens cannot be given with --resume" in refused.err


def test_a_seed_fits_into_the_machines_numbers() -> None:
    assert run("pretrain", "--corpus", "novels", "--seed", str(1 << 63)).code == 2


def test_a_plan_is_made_by_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        refused = run("pretrain", "--corpus", "novels", "--plan")
        assert refused.code == 8
        assert "by one process" in refused.err
