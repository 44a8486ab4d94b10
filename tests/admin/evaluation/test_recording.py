"""What reaches the store is numbers, and what the gate said is there whatever the figures are."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from chatbot.admin.evaluation.comparing import _load_suites
from chatbot.admin.evaluation.recording import record
from chatbot.admin.evaluation.records import Measure, Reason
from chatbot.errors import InvalidInput
from chatbot.store.database import Store
from tests.admin.evaluation.reports import make_report


@pytest.fixture
def store() -> Iterator[Store]:
    with Store.in_memory() as store:
        yield store


def test_a_figure_that_is_no_number_stays_out_and_the_verdict_stays(store: Store) -> None:
    ids = [
        store.model_versions.find_or_add_base(name, sha256=name * 8, template_sha="t" * 64, path=name)
        for name in ("one", "two")
    ]
    broken = Measure("held-out", "loss", math.nan, 2.0, 9, "lower", -math.inf, math.inf, math.inf)
    vague = replace(broken, metric="other", candidate=1.0)
    reason = Reason("worse", "Its held-out loss is no number: training broke the model.")
    report = make_report(
        id=store.evaluations.new_id(),
        verdict="worse",
        reasons=(reason,),
        measures=(broken, vague, *make_report().measures),
    )
    record(store, report, ids[0], ids[1], {"general": [("p", "", False)]})
    decision = store.evaluations.decision(ids[0], ids[1])
    assert decision is not None
    assert (decision.value, decision.reasons) == (-1.0, (reason.text,))


def test_no_suite_may_pass_for_one_that_is_watched(tmp_path: Path) -> None:
    line = '{"id": "a", "area": "b", "prompt": "c", "right": "d", "wrong": ["e"]}'
    for name in ("general", "safety", "held-out", "replies", "own"):
        (tmp_path / f"{name}.jsonl").write_text(line)
    assert [suite.name for suite in _load_suites([str(tmp_path / "own.jsonl")])] == ["general", "safety", "own"]
    for names in (["general"], ["safety"], ["held-out"], ["replies"], ["own", "own"]):
        with pytest.raises(InvalidInput, match="another name"):
            _load_suites([str(tmp_path / f"{name}.jsonl") for name in names])
