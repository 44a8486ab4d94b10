"""`chatbot logs export` and `import`."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from time import tzset

import pytest

from chatbot.cli.logs.times import show_day, show_time
from chatbot.config import Home
from chatbot.store.archive import Archive
from chatbot.store.archive_records import ArchivedConversation
from chatbot.store.database import Store
from chatbot.store.migrations import open_upgraded
from tests.cli.logs.talks import EGGS, PAN, SEVEN, TEN, ids, run


@pytest.fixture
def talks(tmp_path: Path) -> Path:
    """Two records that can be read among two that cannot."""
    path = tmp_path / "talks.jsonl"
    good = {"messages": [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "Hello!"}]}
    other = {"messages": [{"role": "user", "content": "你好"}, {"role": "assistant", "content": "你好！"}]}
    path.write_text("\n".join([json.dumps(good), '{"messages": [', json.dumps({"messages": []}), json.dumps(other)]))
    return path


@pytest.mark.parametrize(
    ("name", "beginning"),
    [("talks.md", "#"), ("talks.json", '{"format"'), ("talks", '{"format"'), ("talks.MD", "#")],
)
def test_the_files_ending_chooses_the_format(log: Store, tmp_path: Path, name: str, beginning: str) -> None:
    path = tmp_path / name
    done = run("export", str(path))
    assert (done.code, done.out) == (0, "")
    assert "5 conversations written" in done.err
    assert path.read_text().startswith(beginning)
    assert path.stat().st_mode & 0o777 == 0o600


def test_an_ending_of_two_formats_is_asked_about(log: Store, tmp_path: Path) -> None:
    done = run("export", str(tmp_path / "talks.jsonl"))
    assert done.code == 2
    assert "openai or pairs" in done.err
    assert not (tmp_path / "talks.jsonl").exists()


def test_a_file_is_replaced_only_by_force(log: Store, tmp_path: Path) -> None:
    path = tmp_path / "talks.json"
    path.write_text("mine")
    assert run("export", str(path)).code == 8
    assert path.read_text() == "mine"
    done = run("export", str(path), "--force", "--json", "--persona", "cook").json
    assert done == {"file": str(path), "format": "json", "conversations": 1}
    assert run("export", str(tmp_path / "no" / "talks.json")).code == 8
    assert run("export", "--format", "xml").code == 5


def test_filters_choose_and_standard_output_holds_nothing_else(log: Store) -> None:
    done = run("export", "--format", "openai", "--model", "tiny")
    assert [one["content"] for one in done.json["messages"]][-1] == "Ten minutes."
    assert done.err == ""
    assert run("export", "-", "--json", "--persona", "cook").json["conversations"][0]["id"] == EGGS
    nothing = run("export", "--format", "openai", "--text", "absent")
    assert (nothing.out, nothing.err) == ("", "No conversation matches.\n")
    assert run("export", "--json", "--format", "pairs").code == 2


def test_pairs_are_counted(log: Store, tmp_path: Path) -> None:
    run("prefer", PAN, SEVEN)
    path = tmp_path / "pairs.jsonl"
    assert run("export", str(path), "--format", "pairs", "--json").json["pairs"] == 1
    assert json.loads(path.read_text())["chosen"][0]["content"] == "Put it in a pan."


def test_an_export_can_be_imported_whole(log: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "talks.json"
    run("rate", TEN, "up")
    run("export", str(path))
    monkeypatch.setenv("CHATBOT_HOME", str(tmp_path / "other"))
    assert run("import", str(path), "--json").json["conversations"] == 5
    assert run("show", TEN, "--json").json["messages"][-1]["rating"] == "up"


def test_bad_records_are_told_by_file_place_and_key(home: Home, talks: Path) -> None:
    done = run("import", str(talks))
    assert done.code == 0
    assert done.out == "2 conversations with 4 messages added, 0 known already, 2 skipped.\n"
    lines = done.err.splitlines()
    assert lines[0] == "talks.jsonl: OpenAI messages"
    assert lines[1].startswith("skipped: talks.jsonl, line 2: is not JSON")
    assert lines[2].startswith("skipped: talks.jsonl, line 3, key openai:")
    skipped = run("import", str(talks), "--json").json["skipped"]
    assert [one["place"] for one in skipped] == ["line 2", "line 3"]


def test_the_same_file_twice_adds_nothing(home: Home, talks: Path) -> None:
    run("import", str(talks))
    again = run("import", str(talks), "--json").json
    assert (again["conversations"], again["messages"], again["known"]) == (0, 0, 2)


def test_a_dry_run_tells_the_same_and_adds_nothing(home: Home, talks: Path) -> None:
    planned = run("import", str(talks), str(talks), "--dry-run", "--json").json
    assert (planned["conversations"], planned["messages"], planned["known"]) == (2, 4, 2)
    assert len(planned["skipped"]) == 4
    assert run("list", "--json").json == []
    run("import", str(talks))
    assert run("import", str(talks), "--dry-run", "--json").json["known"] == 2


def write_claude(path: Path, time: str, *said: str) -> Path:
    messages = [{"uuid": str(n), "sender": "human", "text": text, "created_at": time} for n, text in enumerate(said)]
    talk = {"uuid": "one", "name": "A \x1b[31mtitle", "created_at": time, "chat_messages": messages}
    path.write_text(json.dumps([talk]))
    return path


@pytest.mark.parametrize("option", ["--dry-run", "--json"])
def test_a_conversation_that_has_grown_is_told(home: Home, tmp_path: Path, option: str) -> None:
    path = tmp_path / "conversations.json"
    run("import", str(write_claude(path, "2026-01-01T00:00:00Z", "one")))
    (identifier,) = ids(run("list", "--json"))
    write_claude(path, "2026-01-01T00:00:00Z", "one", "two", "three")
    done = run("import", str(path), option)
    if option == "--json":
        (grown,) = done.json["grown"]
        assert (grown["conversation_id"], grown["here"], grown["brought"]) == (identifier, 1, 3)
    else:
        assert f"{identifier} A" in done.out
        assert "1 message here, 3 there" in done.out
        assert "chatbot logs forget" in done.out
        assert "\x1b" not in done.out
    assert run("forget", identifier, "--yes").code == 0
    assert run("import", str(path), "--json").json["messages"] == 3


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Tokyo"])
def test_a_time_that_no_clock_shows_breaks_no_list(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, time: str, zone: str
) -> None:
    monkeypatch.setenv("TZ", zone)
    tzset()
    try:
        run("import", str(write_claude(tmp_path / "conversations.json", time, "hello")))
        (identifier,) = ids(run("list", "--json"))
        assert run("list").code == run("show", identifier).code == 0
        for show in (show_time, show_day):
            assert show(datetime.fromisoformat(time))
    finally:
        monkeypatch.undo()
        tzset()


def test_sampling_that_is_none_is_not_taken(home: Home, log: Store, tmp_path: Path) -> None:
    path = tmp_path / "talks.json"
    run("export", str(path), "--persona", "cook")
    export = json.loads(path.read_text())
    export["conversations"][0] |= {"sampling": {"foo": 1, "stop": 5, "top_k": 2}}
    path.write_text(json.dumps(export))
    run("forget", EGGS, "--yes")
    assert run("import", str(path)).code == 0
    assert log.conversations.system(EGGS)[1] == {"top_k": 2}


def test_what_is_forgotten_during_an_export_is_left_out(
    log: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Archive.read

    def forget_first(archive: Archive, conversation_id: str) -> ArchivedConversation:
        if conversation_id == EGGS:
            log.erasure.forget([EGGS])
        return read(archive, conversation_id)

    monkeypatch.setattr(Archive, "read", forget_first)
    path = tmp_path / "talks.json"
    assert run("export", str(path), "--json").json["conversations"] == 4
    assert len(json.loads(path.read_text())["conversations"]) == 4


def test_many_bad_records_are_counted(home: Home, tmp_path: Path) -> None:
    path = tmp_path / "talks.jsonl"
    good = json.dumps({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]})
    path.write_text(good + '\n{"messages": []}' * 30)
    done = run("import", str(path))
    assert done.err.count("skipped: ") == 20
    assert "10 more" in done.err


def test_what_cannot_be_read_is_an_error_unless_something_else_can(home: Home, talks: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("milk, eggs")
    done = run("import", str(tmp_path / "notes.txt"))
    assert (done.code, done.out) == (8, "")
    assert done.err.count("notes.txt is of no known form") == 1
    both = run("import", str(tmp_path / "absent"), str(talks))
    assert both.code == 0
    assert "absent" in both.err
    assert run("import", str(tmp_path / "absent"), "--json").json["failed"]


def test_the_persona_must_exist(home: Home, talks: Path) -> None:
    assert run("import", str(talks), "--persona", "nobody").code == 5
    assert run("import", str(talks), "--persona", "default").code == 0
    with open_upgraded(f"sqlite:///{home.data / 'chatbot.db'}") as store:
        assert {entry.conversation.persona for entry in store.logs.list()} == {"default"}


def test_stopping_keeps_what_was_read(home: Home, talks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from chatbot.logs import importing

    def interrupt(store: Store, paths: object, *, report: importing.ImportReport, **_: object) -> None:
        report.conversations = 3
        raise KeyboardInterrupt

    monkeypatch.setattr(importing, "import_logs", interrupt)
    done = run("import", str(talks))
    assert done.code == 130
    assert "3 conversations kept" in done.err
