"""`chatbot logs rate`, `tag`, `correct`, `prefer` and `review`."""

from __future__ import annotations

import pytest

from chatbot.store.database import Store
from tests.cli.logs.talks import EGG, HARD, PAN, RAIN, SEVEN, TEN, UNANSWERED, WEATHER, run


def test_a_rating_is_given_and_taken_back(log: Store) -> None:
    assert run("rate", SEVEN, "up", "--comment", "Right.").out == f"{SEVEN[:18]} is rated up; the comment kept.\n"
    assert run("rate", SEVEN, "up").code == 0  # twice is the same, not taken back
    judged = log.judgements.get(SEVEN)
    assert (judged.rating, judged.comment) == (1, "Right.")
    assert run("rate", SEVEN, "none", "--json").json["rating"] == "none"
    assert log.judgements.get(SEVEN).rating == 0


def test_a_conversations_id_means_the_reply_at_its_end(log: Store) -> None:
    assert run("rate", "019a0000-0000-7000", "down", "--json").json["message"] == TEN
    assert run("rate", "019b", "up", "--json").json["message"] == RAIN


def test_a_prompt_cannot_be_judged_and_its_replies_are_named(log: Store) -> None:
    done = run("rate", EGG, "up")
    assert done.code == 8
    assert SEVEN in done.err
    assert PAN in done.err
    assert TEN not in done.err
    assert run("tag", HARD, "x").code == 8
    assert "ends with a prompt" in run("rate", UNANSWERED, "up").err


def test_judgements_are_signed_with_the_name_of_the_settings(log: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHATBOT_REVIEW_AUTHOR", "grace")
    run("rate", SEVEN, "up")
    assert log.judgements.history(SEVEN)[-1].author == "grace"


def test_tags_are_added_and_removed(log: Store) -> None:
    assert run("tag", RAIN, "+rain", "short").out.split() == ["wrong", "rain", "short"]
    assert run("tag", RAIN, "--remove", "wrong", "--remove", "rain", "--json").json["tags"] == ["short"]
    assert run("tag", RAIN).out == "short\n"
    assert run("rate", RAIN, "up", "--tag", "good", "--json").json["tags"] == ["short", "good"]
    assert run("tag", RAIN, "a, b").out.split() == ["short", "good", "a", "b"]
    assert run("tag", RAIN, "x" * 41).code == 8
    assert run("tag", RAIN, "").code == 8
    assert run("tag", RAIN, "\udcff").code == 8


def test_tags_that_change_nothing_are_not_noted(log: Store) -> None:
    before = len(log.judgements.history(RAIN))
    assert run("tag", RAIN, "wrong", "--remove", "absent").err == "It had no tag absent.\n"
    assert len(log.judgements.history(RAIN)) == before


def test_a_correction_comes_from_words_or_from_standard_input(log: Store) -> None:
    done = run("correct", TEN, "Nine", "minutes.", "--json").json
    assert (done["content"], done["decision"], done["corrects"]) == ("Nine minutes.", "approved", TEN)
    assert log.messages.get(TEN).decision == "reject"
    assert run("correct", RAIN, "-", "--json", stdin="今天晴。\n").json["content"] == "今天晴。"
    assert "今天晴。" in run("show", WEATHER).out


@pytest.mark.parametrize("stdin", [b"", b"caf\xe9", b"Ten minutes."])
def test_a_correction_that_cannot_be_used_changes_nothing(log: Store, stdin: bytes) -> None:
    done = run("correct", TEN, "-", stdin=stdin)
    assert done.code == 8
    assert log.messages.get(TEN).siblings == 1
    if stdin.startswith(b"caf"):
        assert "byte 3 (line 1) is 0xe9" in done.err


def test_a_reply_is_preferred_to_others_of_the_same_prompt(log: Store) -> None:
    assert run("prefer", PAN, SEVEN, "--json").json == {"message": PAN, "preferred_over": [SEVEN]}
    assert log.judgements.history(PAN)[-1].preferred_over == SEVEN
    assert run("prefer", PAN, TEN).code == 8
    assert run("prefer", PAN, PAN).code == 8


def test_review_tells_how_far_it_is_and_what_waits(log: Store) -> None:
    done = run("review", "-n", "1")
    assert done.out.startswith("0 approved of 200 wanted, 6 wait.\n")
    assert RAIN[:18] in done.out
    assert "rated down" in done.out
    assert "5 more wait" in done.err
    told = run("review", "--model", "tiny", "--json").json
    assert (told["waiting"], told["meant"]) == (6, 3)
    assert {one["id"] for one in told["queue"]} == {SEVEN, PAN, TEN}
    assert run("review", "--tag", "absent").err == "Nothing waits here.\n"


def test_replies_are_approved_by_filter(log: Store) -> None:
    done = run("review", "--approve", "--model", "tiny", "--yes", "--json").json
    assert (done["decision"], done["replies"], done["waiting"]) == ("approved", 3, 3)
    assert [log.messages.get(one).decision for one in (SEVEN, PAN, TEN, RAIN)] == ["approve"] * 3 + [""]
    assert run("review", "--approve", "--model", "tiny", "--yes").out.startswith("0 replies approved.")
    assert run("review", "--reject", "--text", "雨", "--yes").out.startswith("1 reply rejected.")


def test_decisions_about_ids_are_made_and_withdrawn(log: Store) -> None:
    run("review", "--reject", PAN, TEN, "--note", "no", "--yes")
    assert [one.note for one in log.judgements.history(PAN)] == ["no"]
    run("review", "--withdraw", PAN, "--yes")
    assert [log.messages.get(one).decision for one in (PAN, TEN)] == ["", "reject"]


def test_without_a_terminal_a_decision_needs_yes(log: Store) -> None:
    for arguments in (["--approve", "--all"], ["--reject", PAN]):
        done = run("review", *arguments)
        assert done.code == 8
        assert "--yes" in done.err
    assert log.review_queue.progress().waiting == 6


@pytest.mark.parametrize(
    "arguments",
    [
        ["--approve", "--reject"],
        [PAN],
        ["--withdraw"],
        ["--approve", PAN, "--rating", "up"],
        ["--approve", PAN, "--all"],
        ["--approve"],  # everything is meant only if it is said
        ["--reject"],
        ["--approve", "--all", "--limit", "3"],  # whoever gives it means few, and all would be decided about
        ["--reject", "--rating", "down", "--offset", "3"],
    ],
)
def test_contradictions_are_wrong_usage(log: Store, arguments: list[str]) -> None:
    assert run("review", *arguments, "--yes").code == 2


def test_all_that_waits_is_decided_about_if_it_is_asked_for(log: Store) -> None:
    assert run("review", "--reject", "--all", "--note", "spam", "--yes", "--json").json["replies"] == 6
    assert log.review_queue.progress().waiting == 0
    assert log.judgements.history(PAN)[-1].note == "spam"
    done = run("review", "--state", "rejected", "-n", "1")
    assert "wait." not in done.err


def test_what_is_decided_cannot_be_meant_by_a_bulk_decision(log: Store) -> None:
    assert run("review", "--approve", "--state", "rejected", "--yes").code == 8
