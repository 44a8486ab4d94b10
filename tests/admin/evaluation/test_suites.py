"""The suites that ship are fair, and a file that is none is refused with its line."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chatbot.admin.datasets.replay import find_replay_file
from chatbot.admin.datasets.similarity import cut_shingles, measure_similarity
from chatbot.admin.evaluation.suites import Suite, list_suite_prompts, load_suite
from chatbot.errors import InvalidInput

GOOD: dict[str, Any] = {"id": "a-1", "area": "facts", "prompt": "1 + 1?", "right": "2", "wrong": ["3", "4"]}


def write(folder: Path, *lines: str | bytes) -> Path:
    path = folder / "own.jsonl"
    path.write_bytes(b"\n".join(line.encode() if isinstance(line, str) else line for line in lines))
    return path


def share_of_right(suite: Suite, prefer: Callable[[str], float]) -> float:
    """What one gains who looks at nothing but the answers; a tie is a guess."""
    gained = 0.0
    for item in suite.items:
        values = [prefer(answer) for answer in (item.right, *item.wrong)]
        best = max(values)
        gained += (values[0] == best) / values.count(best)
    return gained / len(suite.items)


@pytest.mark.parametrize(("name", "fewest"), [("general", 110), ("safety", 38)])
def test_a_shipped_suite_is_in_two_languages_and_without_repetition(name: str, fewest: int) -> None:
    suite = load_suite(name)
    assert suite.name == name
    assert len(suite.items) >= fewest
    assert len({item.prompt for item in suite.items}) == len(suite.items)
    chinese = sum(bool(re.search("[\u4e00-\u9fff]", item.prompt)) for item in suite.items)
    assert 0.28 <= chinese / len(suite.items) <= 0.38
    assert all(2 <= len(item.wrong) <= 3 for item in suite.items)
    assert len({item.area for item in suite.items}) >= 6


@pytest.mark.parametrize("name", ["general", "safety"])
def test_length_alone_does_not_find_the_right_answer(name: str) -> None:
    suite = load_suite(name)
    chance = sum(1 / (1 + len(item.wrong)) for item in suite.items) / len(suite.items)
    assert abs(share_of_right(suite, len) - chance) < 0.1
    assert abs(share_of_right(suite, lambda answer: -len(answer)) - chance) < 0.1


def test_always_refusing_is_not_safe_enough() -> None:
    harmless = [item for item in load_suite("safety").items if item.area == "harmless"]
    refusal = re.compile("can't|won't|sorry|refuse|forbidden|police|对不起|拒绝|报警")
    assert len(harmless) >= 5
    assert not [item.id for item in harmless if refusal.search(item.right)]
    assert all(any(refusal.search(wrong) for wrong in item.wrong) for item in harmless)


def test_the_version_follows_the_file(tmp_path: Path) -> None:
    first = load_suite(write(tmp_path, json.dumps(GOOD)))
    again = load_suite(str(write(tmp_path, json.dumps(GOOD))))
    other = load_suite(write(tmp_path, json.dumps({**GOOD, "right": "two"})))
    assert first == again
    assert re.fullmatch("[0-9a-f]{12}", first.version)
    assert first.version != other.version


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("not json", "JSON"),
        (b'{"id": "\xff"}', "UTF-8|JSON|unicode"),
        ("[1]", "dict|object|instance"),
        ("[" * 100_000, "recursion|JSON"),
        (json.dumps({**GOOD, "id": "../x"}), "id"),
        (json.dumps({**GOOD, "right": "  "}), "right"),
        (json.dumps({**GOOD, "right": "3"}), "same"),
        (json.dumps({**GOOD, "wrong": []}), "wrong"),
        (json.dumps({**GOOD, "wrong": "34"}), "wrong"),
        (json.dumps({**GOOD, "prompt": 7}), "prompt"),
        (json.dumps({**GOOD, "prompt": "x" * 20_000}), "prompt"),
        (json.dumps({**GOOD, "\x1b]0;x\x07": 1}), "no such key"),
        (json.dumps(GOOD), "twice"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str | bytes, reason: str) -> None:
    path = write(tmp_path, json.dumps(GOOD), "", line)
    with pytest.raises(InvalidInput, match=re.compile(reason, re.IGNORECASE)) as caught:
        load_suite(path)
    assert f"{path}, line 3:" in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < len(str(path)) + 300


def test_what_is_no_file_of_items_is_refused(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.jsonl"
    os.mkfifo(pipe)
    for source in (tmp_path, tmp_path / "none.jsonl", pipe, write(tmp_path, ""), tmp_path / "a\0b.jsonl"):
        with pytest.raises(InvalidInput):
            load_suite(source)


@pytest.mark.parametrize("name", ["nothing", "../personas/default", "", "a\0b.jsonl", "\x1b[31m"])
def test_an_unknown_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        load_suite(name)
    assert str(caught.value).isprintable()


def test_all_prompts_of_the_shipped_suites_are_listed() -> None:
    prompts = list_suite_prompts()
    assert prompts == [item.prompt for name in ("general", "safety") for item in load_suite(name).items]


def test_what_ships_against_forgetting_teaches_nothing_that_a_suite_asks() -> None:
    """Training sees it: a suite would else measure what was learnt by heart."""
    prompts = [(prompt, cut_shingles(prompt)) for prompt in list_suite_prompts()]
    rows = [json.loads(line) for line in find_replay_file(None).read_text("utf-8").splitlines()]
    assert len(rows) >= 60
    asked = [turn["content"] for row in rows for turn in row["messages"] if turn["role"] == "user"]
    alike = [
        (text, prompt)
        for text in asked
        for prompt, shingles in prompts
        if measure_similarity(cut_shingles(text), shingles) >= 0.6
    ]
    assert alike == []
    answers = {turn["content"] for row in rows for turn in row["messages"] if turn["role"] == "assistant"}
    right = {item.right for name in ("general", "safety") for item in load_suite(name).items}
    assert not answers & right
