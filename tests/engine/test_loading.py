"""How a machine is shared with a model."""

from __future__ import annotations

import pytest

from chatbot.engine.loading import count_threads


def test_who_shares_a_machine_may_say_how_many_threads_are_his(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    every = count_threads(0)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert count_threads(0) == 1
    assert count_threads(3) == 3, "what was asked for holds"
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    assert count_threads(0) == every
