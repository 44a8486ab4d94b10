"""`chatbot logs redact`: the preview, then the masking."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from chatbot.config import Home
from chatbot.store.database import Store
from chatbot.store.redactions import Redactions
from tests.cli.logs.talks import EGGS, PRIVATE, run
from tests.store.sample import Cycle


@pytest.fixture
def names(tmp_path: Path) -> Path:
    path = tmp_path / "names.txt"
    path.write_text("Ada Lovelace\n")
    return path


def test_the_preview_shows_each_finding_and_changes_nothing(log: Store, names: Path) -> None:
    done = run("redact", PRIVATE, "--names", str(names))
    assert done.code == 0
    assert "I am »Ada Lovelace«, write to ada@example.com" in done.out
    assert "I wrote to »ada@example.com«." in done.out
    assert "In 1 conversation: 3 email, 1 name." in done.out
    assert "Nothing was changed" in done.err
    assert "Ada Lovelace" in run("show", PRIVATE).out


def test_yes_masks_for_good_and_names_the_backups(log: Store, home: Home, names: Path) -> None:
    backup = log.back_up()
    done = run("redact", PRIVATE, "--names", str(names), "--yes")
    assert backup.name in done.out
    shown = run("show", PRIVATE).out
    assert "I am [name], write to [e-mail]" in shown
    assert "redacted" in shown
    assert b"ada@example.com" not in (home.data / "chatbot.db").read_bytes()
    assert run("redact", PRIVATE, "--names", str(names), "--yes").out == "Nothing was found to mask.\n"


def test_filters_choose_and_json_tells_places(log: Store) -> None:
    told = run("redact", "--all", "--json").json
    assert (told["masked"], told["counts"]) == (False, {"email": 3})
    (found,) = told["conversations"]
    assert found["id"] == PRIVATE
    assert {one["in"] for one in found["findings"]} == {"user", "assistant", "title"}
    assert run("redact", "--persona", "cook").out == "Nothing was found to mask.\n"
    assert run("redact", "--text", "write", "--yes", "--json").json["masked"] is True


def test_the_list_of_names_may_stand_in_the_settings(log: Store, names: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHATBOT_REVIEW_NAMES", str(names))
    assert run("redact", PRIVATE, "--json").json["counts"] == {"email": 3, "name": 1}


def test_a_list_of_names_that_cannot_be_read_is_told(log: Store, names: Path) -> None:
    names.write_bytes(b"Ada\n\xff\xfe\n")
    done = run("redact", PRIVATE, "--names", str(names), "--yes")
    assert done.code == 8
    assert "line 2" in done.err
    assert "Ada Lovelace" in run("show", PRIVATE).out


@pytest.mark.parametrize("arguments", [[], ["--yes"], [EGGS, "--all"], [EGGS, "--since", "7d"]])
def test_what_is_meant_must_be_said(log: Store, arguments: list[str]) -> None:
    assert run("redact", *arguments).code == 2


def test_tags_and_the_draft_are_masked_and_shown(log: Store) -> None:
    reply = log.logs.tree(PRIVATE)[-1]
    log.judgements.say(reply.id, author="me", tags=["bob@example.com", "good"])
    log.conversations.save_draft(PRIVATE, "to eve@example.com")
    told = run("redact", PRIVATE, "--yes", "--json").json
    assert {one["in"] for one in told["conversations"][0]["findings"]} >= {"draft", "tag"}
    assert log.judgements.get(reply.id).tags == ("[e-mail]", "good")
    assert log.conversations.draft(PRIVATE) == "to [e-mail]"


def test_what_learnt_the_old_text_is_named(log: Store) -> None:
    cycle = Cycle(log)
    reply = log.logs.tree(PRIVATE)[-1]
    cycle.train("cook", {cycle.make_dataset("kitchen", [(PRIVATE, [reply.id])]): "train"})
    told = run("redact", PRIVATE, "--json").json
    assert ([one["name"] for one in told["datasets"]], [one["name"] for one in told["models"]]) == (
        ["kitchen"],
        ["cook"],
    )
    out = run("redact", PRIVATE, "--yes").out
    assert "made from the old text: kitchen/1 (1 from here)." in out
    assert "Stale, because they learnt the old text: cook/1." in out


def test_what_was_masked_before_another_chat_changed_one_is_told(log: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    log.conversations.change(EGGS, title="Write to eggs@example.com")
    apply = Redactions.apply

    def rename(self: Redactions, conversation_id: str, *arguments: Any, **named: Any) -> None:
        apply(self, conversation_id, *arguments, **named)
        (other,) = {EGGS, PRIVATE} - {conversation_id}
        log.conversations.change(other, title="Boiling")

    monkeypatch.setattr(Redactions, "apply", rename)
    done = run("redact", EGGS, PRIVATE, "--yes")
    assert done.code == 8
    assert f"{PRIVATE}: The title has changed since the preview. Masked before it: {EGGS}. Left: 1 of 2." in done.err
