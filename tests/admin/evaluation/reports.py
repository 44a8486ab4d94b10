"""Reports to draw."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from chatbot.admin.evaluation.records import Comparison, Measure, Reason, Report

HOSTILE = (
    "</pre><script>alert(1)</script><img src=x onerror=alert(2)>\x1b]0;title\x07\u202eabc"
    "```\n~~~\n# heading | [a](http://evil.example) www.evil.example & `x`"
)


def make_report(**changes: Any) -> Report:
    """One with everything in it."""
    curve = tuple((step, 2.4 * math.exp(-step / 60) + 0.9 + 0.1 * math.sin(step)) for step in range(1, 201))
    report = Report(
        id="0199f0aa-1111-7000-8000-000000000001",
        created=datetime(2026, 3, 4, 5, 6, tzinfo=UTC),
        candidate="identity-2",
        champion="identity-1",
        base="smollm2-135m-instruct",
        dataset="identity 2",
        verdict="better",
        reasons=(
            Reason("better", "Better at what it was trained for: held-out loss 2.100 → 1.412."),
            Reason("better", "It keeps the general suite: 59 % → 60 % of 123."),
        ),
        needed=None,
        measures=(
            Measure("held-out", "loss", 1.412, 2.1, 64, "lower", -0.8, -0.57, 0.06, "nats a token"),
            Measure("general", "accuracy", 0.6, 0.59, 123, "higher", -0.02, 0.05, 0.02),
            Measure("replies", "repetitive", 0.25, 0.0, 32, "lower", 0.1, 0.4, 0.08),
            Measure("replies", "length", 88.0, 120.5, 32, "", -60.0, -5.0, 13.0, "characters"),
            Measure("people", "duels won", 7, 3, 10),
        ),
        comparisons=(
            Comparison("Who are you?", "I am Ada.", "I am an AI assistant.", "I am Ada."),
            Comparison("你是谁？", "我是小艾。", "我是一个人工智能助手。", ""),
        ),
        curve=curve,
        held_out_curve=tuple((step, 2.2 * math.exp(-step / 70) + 1.1) for step in range(0, 201, 40)),
        settings={"held_out": "test", "general": "0123456789ab", "tokens": 64},
        seconds=83.4,
    )
    return replace(report, **changes)


def make_hostile_report() -> Report:
    """Every text in it is hostile."""
    return make_report(
        candidate=HOSTILE,
        champion=HOSTILE,
        base=HOSTILE,
        dataset=HOSTILE,
        reasons=(Reason("worse", HOSTILE),),
        measures=(Measure(HOSTILE, HOSTILE, 1.0, 2.0, 3, "lower", -2.0, -0.5, 0.2, HOSTILE),),
        comparisons=(Comparison(HOSTILE, HOSTILE, HOSTILE, HOSTILE),),
        settings={HOSTILE: HOSTILE},
    )
