"""`chatbot logs delete`, `forget` and `lineage`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import insert

from chatbot.config import Home
from chatbot.store import learning_tables as tables
from chatbot.store.database import Store
from chatbot.store.sessions import Database
from tests.cli.logs.talks import EGG, EGGS, RAIN, TEN, WEATHER, ids, run

NOW = datetime(2026, 4, 1, tzinfo=UTC)


@pytest.fixture
def trained(home: Home, log: Store) -> Iterator[Store]:
    """An adapter that learnt from a reply about eggs and was promoted, and one that was trained further from it."""
    version = {"template_sha": "t", "tokenizer_sha": "k", "created_at": NOW}
    model = {**version, "kind": "adapter", "path": "models/cook", "sha256": "s", "base_sha": "b"}
    run_values = {
        "kind": "sft",
        "base_model": "tiny",
        "config": {},
        "seed": 1,
        "versions": {},
        "device": "cpu",
        "status": "complete",
        "resumed_from_id": None,
        "started_at": NOW,
        "ended_at": NOW,
        "created_at": NOW,
    }
    item = {"position": 0, "split": "train", "group_key": "g", "content_sha": "c", "source_conversation_id": EGGS}
    data = {"number": 1, "sha256": "d", "recipe": {}, "counts": {}, **version}
    moved = {"author": "ada", "reason": "better at eggs", "created_at": NOW, "name": "champion"}
    rows: list[tuple[Any, dict[str, Any]]] = [
        (tables.DatasetRow, {"id": "data", "name": "kitchen", "kind": "sft", "created_at": NOW}),
        (tables.DatasetVersionRow, {"id": "data-1", "dataset_id": "data", **data}),
        (tables.DatasetItemRow, {"id": "item", "dataset_version_id": "data-1", **item}),
        (tables.DatasetItemMessageRow, {"dataset_item_id": "item", "message_id": TEN}),
        (tables.RunRow, {"id": "run-1", "parent_version_id": None, **run_values}),
        (tables.RunInputRow, {"run_id": "run-1", "dataset_version_id": "data-1", "role": "train", "weight": 1.0}),
        (tables.ModelVersionRow, {"id": "cook-1", "name": "cook", "number": 1, "run_id": "run-1", **model}),
        (tables.RunRow, {"id": "run-2", "parent_version_id": "cook-1", **run_values}),
        (tables.ModelVersionRow, {"id": "cook-2", "name": "cook", "number": 2, "run_id": "run-2", **model}),
        (tables.AliasRow, {"name": "champion", "model_version_id": "cook-1", "updated_at": NOW}),
        (tables.AliasEventRow, {"id": "e", "from_version_id": None, "to_version_id": "cook-1", **moved}),
    ]
    database = Database(f"sqlite:///{home.data / 'chatbot.db'}")
    with database.write() as connection:
        for table, values in rows:
            connection.execute(insert(table).values(values))
    database.close()
    yield log


def test_a_conversation_goes_into_the_bin_and_comes_back(log: Store) -> None:
    done = run("delete", "019a0000-0000-7000", WEATHER)
    assert done.out.count("in the bin") == 2
    assert EGGS not in ids(run("list", "--json"))
    assert ids(run("list", "--bin", "--json")) == [EGGS, WEATHER]
    assert "in the bin" in run("show", EGGS).out
    assert run("lineage", EGGS).code == 0
    assert [one["deleted"] for one in run("delete", "--undo", EGGS, "--json").json] == [False]
    assert EGGS in ids(run("list", "--json"))


def test_only_what_is_in_the_bin_can_be_taken_out(log: Store) -> None:
    assert run("delete", "--undo", EGGS).code == 5


def test_nothing_is_deleted_if_one_id_is_wrong(log: Store) -> None:
    assert run("delete", EGGS, "ffff").code == 5
    done = run("delete", EGGS, RAIN)
    assert done.code == 8
    assert WEATHER in done.err
    assert run("list", "--bin", "--json").json == []


def test_the_bin_is_emptied(log: Store) -> None:
    assert run("delete", "--purge").err == "The bin is empty.\n"
    run("delete", EGGS, WEATHER)
    assert run("delete", "--purge").code == 8
    assert run("list", "--bin", "--json").json != []
    told = run("delete", "--purge", "--yes", "--json").json
    assert (told["forgotten"], told["conversations"]) == (True, [EGGS, WEATHER])
    assert run("show", EGGS).code == 5
    assert len(run("list", "--json").json) == 3


@pytest.mark.parametrize("arguments", [[], ["--undo"], [EGGS, "--undo", "--purge"]])
def test_deleting_nothing_or_both_ways_is_wrong_usage(log: Store, arguments: list[str]) -> None:
    assert run("delete", *arguments).code == 2


def test_forgetting_shows_first_what_would_go(trained: Store) -> None:
    done = run("forget", EGGS)
    assert done.code == 8
    assert "--yes" in done.err
    shown = " ".join(done.out.split())
    assert "messages 5 dataset items 1 datasets kitchen/1 (1 from here) models cook/1 (champion), cook/2" in shown
    planned = run("forget", EGGS, "--json")
    assert planned.code == 8
    assert planned.json["forgotten"] is False
    assert run("show", EGGS).code == 0


def test_forgetting_deletes_everywhere_and_names_what_is_stale(trained: Store, home: Home) -> None:
    backup = trained.back_up()
    done = run("forget", EGGS, "--yes")
    assert done.code == 0
    assert "dataset versions that held it: kitchen/1." in done.out
    assert "Stale, because they learnt from it: cook/1, cook/2." in done.out
    assert not backup.exists()
    assert run("show", EGGS).code == 5
    assert b"seven minutes" not in (home.data / "chatbot.db").read_bytes()
    again = run("lineage", "cook/1", "--json").json
    assert again[0]["messages"] == []


def test_a_backup_that_cannot_be_read_is_named(log: Store, home: Home) -> None:
    folder = home.data / "backups"
    folder.mkdir(exist_ok=True)
    damaged = folder / "chatbot-20250101T000000.000000Z.db"
    damaged.write_bytes(b"no database at all")
    assert f"{damaged.name} may hold it too" in " ".join(run("forget", EGGS).out.split())
    done = run("forget", EGGS, "--yes")
    assert "cannot be read and may hold it" in done.out
    assert str(damaged) in done.out


def test_forgetting_tells_all_of_it_in_json(trained: Store) -> None:
    told = run("forget", EGGS, "--yes", "--json").json
    assert told["forgotten"] is True
    assert [(one["name"], one["number"], one["aliases"]) for one in told["models"]] == [
        ("cook", 1, ["champion"]),
        ("cook", 2, []),
    ]
    assert (told["messages"], told["dataset_items"], told["datasets"][0]["name"]) == (5, 1, "kitchen")


def test_forgetting_takes_conversations_from_the_bin_too(log: Store) -> None:
    run("delete", EGGS)
    assert run("forget", EGGS, "--yes").code == 0
    assert run("forget", RAIN, "--yes").code == 8


def test_lineage_of_a_conversation_tells_who_wrote_and_who_learnt(trained: Store) -> None:
    done = run("lineage", EGGS)
    assert f"{TEN[:18]} · tiny/1 · seed 7" in done.out
    assert "kitchen/1" in done.out
    assert "Learnt from it: cook/1 (champion), cook/2" in done.out
    told = run("lineage", TEN, "--json").json
    assert [(one["message"], one["model"], one["number"], one["seed"]) for one in told["replies"]] == [
        (TEN, "tiny", 1, 7)
    ]
    assert [one["number"] for one in told["models"]] == [1, 2]
    assert run("lineage", EGG, "--json").json["models"] == []
    assert "no model has learnt from it" in run("lineage", WEATHER).out


def test_lineage_of_a_model_tells_its_messages_and_why_it_was_promoted(trained: Store) -> None:
    done = run("lineage", "cook/1", "--messages")
    for told in ("cook/1 (champion)", "1 message", "kitchen/1", "better at eggs", "by ada", TEN):
        assert told in done.out
    both = run("lineage", "cook", "--json").json
    assert [one["number"] for one in both] == [2, 1]
    assert both[1]["messages"] == [TEN]
    assert both[0]["parent"]["number"] == 1
    assert "wrote       3 replies" in run("lineage", "tiny").out


def test_lineage_of_nothing_is_not_found(log: Store) -> None:
    for name in ("nosuch", "cook/9", "ffff", ""):
        assert run("lineage", name).code == 5, name
