"""Files of other programs: what of them is learnt, and what is filled in."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from chatbot.admin.datasets import files
from chatbot.admin.datasets.drafts import Draft
from chatbot.admin.datasets.files import FileReport, Filling, _read_talk, parse_fill, read_file
from chatbot.admin.datasets.talks import draft_items
from chatbot.errors import InvalidInput
from chatbot.logs.formats.own import write_json
from chatbot.logs.training_use import RATED_DOWN
from chatbot.store.archive_records import ArchivedConversation, ArchivedFeedback, ArchivedMessage
from chatbot.store.database import Store
from chatbot.store.filters import LogFilter
from tests.admin.datasets.samples import talk, write_alpaca, write_labels, write_pairs


def draft_all(path: Path, kind: Any, filling: Filling | None = None) -> tuple[list[Draft], Counter[str], FileReport]:
    left_out: Counter[str] = Counter()
    report = FileReport()
    mend = (filling or Filling({})).fill
    talks = read_file(path, source="file:x", system="Be brief.", mend=mend, report=report)
    return [draft for one in talks for draft in draft_items(one, kind, left_out)], left_out, report


def list_learnt(drafts: list[Draft]) -> list[str]:
    return [turn.content for draft in drafts for turn in draft.turns if turn.learn]


def test_alpaca_is_learnt_under_the_given_system_prompt(tmp_path: Path) -> None:
    drafts, _, report = draft_all(write_alpaca(tmp_path / "a.json", [("hi", "hello")]), "sft")
    assert [(turn.content, turn.learn) for turn in drafts[0].turns] == [
        ("Be brief.", False),
        ("hi", False),
        ("hello", True),
    ]
    assert (report.formats, report.conversations) == (["Alpaca"], 1)
    assert drafts[0].conversation == ""


def test_a_files_own_system_prompt_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "o.jsonl"
    said = [("system", "Rhyme."), ("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d")]
    path.write_text(json.dumps({"messages": [{"role": role, "content": text} for role, text in said]}))
    (draft,), _, _ = draft_all(path, "sft")
    assert draft.turns[0].content == "Rhyme."
    assert list_learnt([draft]) == ["b", "d"]


def test_placeholders_are_filled_and_open_ones_are_counted(tmp_path: Path) -> None:
    path = write_alpaca(tmp_path / "a.json", [("Who is {{ author }}?", "I am {{name}} by {{author}}, {{x}} {{1}}.")])
    filling = Filling({"name": "Ada", "author": "{{name}} Lab", "unused": "y"})
    drafts, _, _ = draft_all(path, "sft", filling)
    assert drafts[0].turns[1].content == "Who is {{name}} Lab?"
    assert list_learnt(drafts) == ["I am Ada by {{name}} Lab, {{x}} {{1}}."]
    assert (filling.filled, filling.open) == ({"name": 1, "author": 2}, {"x": 1})


def test_words_to_fill_in_may_hold_commas() -> None:
    assert parse_fill(["name=Ada, the first,author=Lab = 7", "x="]) == {
        "name": "Ada, the first",
        "author": "Lab = 7",
        "x": "",
    }
    for text in ("name", "=x", "a b=c", "\x1b=x"):
        with pytest.raises(InvalidInput):
            parse_fill([text])


def test_of_a_pair_the_chosen_reply_is_learnt_and_both_are_compared(tmp_path: Path) -> None:
    path = write_pairs(tmp_path / "p.json", [("hi", "hello", "go away"), ("same", "x", "x ")])
    drafts, left_out, _ = draft_all(path, "preference")
    assert [(draft.prompt, draft.answers) for draft in drafts] == [("hi", ("hello", "go away"))]
    assert left_out == {"the two replies do not differ": 1}
    drafts, left_out, _ = draft_all(path, "sft")
    assert list_learnt(drafts) == ["hello", "x"]


def test_rated_replies_are_labels_and_only_good_ones_are_learnt(tmp_path: Path) -> None:
    path = write_labels(tmp_path / "k.json", [("hi", "hello", True), ("ho", "go away", False)])
    drafts, _, _ = draft_all(path, "label")
    assert [(draft.answers, draft.good) for draft in drafts] == [(("hello",), True), (("go away",), False)]
    drafts, left_out, _ = draft_all(path, "sft")
    assert list_learnt(drafts) == ["hello"]
    assert left_out == {"the file calls it bad": 1}


def test_a_reply_that_a_file_approves_and_rates_down_is_bad(store: Store, tmp_path: Path) -> None:
    talk(store, "hi", "hello", "more?", "yes", decisions="++", ratings="-")
    path = tmp_path / "own.json"
    path.write_text("".join(write_json(store.archive.read(one) for one in store.logs.each_id(LogFilter()))), "utf-8")
    drafts, left_out, _ = draft_all(path, "sft")
    assert (list_learnt(drafts), left_out) == (["yes"], {RATED_DOWN: 1})
    drafts, _, _ = draft_all(path, "label")
    assert {draft.answers[0]: draft.good for draft in drafts} == {"hello": False, "yes": True}


def test_of_three_that_were_compared_only_the_best_is_learnt(tmp_path: Path) -> None:
    messages = (
        ArchivedMessage("1", None, "user", "hi"),
        ArchivedMessage("2", "1", "assistant", "best", feedback=(ArchivedFeedback(preferred_over="3"),)),
        ArchivedMessage("3", "1", "assistant", "better", feedback=(ArchivedFeedback(preferred_over="4"),)),
        ArchivedMessage("4", "1", "assistant", "good"),
    )
    said = _read_talk(ArchivedConversation("key", messages), "file:f", "", str).said
    assert [one.content for one in said if one.teaches and one.role == "assistant"] == ["best"]
    assert [one.content for one in said if one.leads] == ["best", "better"]


def test_a_folder_of_very_many_files_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_MOST_FILES", 20)
    folder = tmp_path / "home"
    folder.mkdir()
    for number in range(21):
        write_alpaca(folder / f"{number}.json", [("hi", "hello")])
    with pytest.raises(InvalidInput, match="more than 20 files"):
        draft_all(folder, "sft")


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="there is no such file on this system")
def test_a_file_that_cannot_be_read_though_it_opens_is_named() -> None:
    with pytest.raises(InvalidInput, match="/proc/self/mem cannot be read"):
        draft_all(Path("/proc/self/mem"), "sft")


def test_a_bad_record_is_counted_and_costs_no_other(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    good = json.dumps({"instruction": "hi", "output": "hello"})
    path.write_text(f"{good}\n{{broken\n{good}\n" + json.dumps({"instruction": 7, "output": "x"}) + "\n")
    drafts, _, report = draft_all(path, "sft")
    assert len(drafts) == 2
    assert sum(report.skipped.values()) == 2
