"""One small sample of each format: what goes in, and what becomes of it."""

from __future__ import annotations

import gzip
import json
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from chatbot.errors import InvalidInput
from chatbot.logs.formats.reading import Event, Recognised, SkippedRecord, read_conversations
from chatbot.logs.formats.source import PassedOver, measure_path
from chatbot.store.archive_records import ArchivedConversation
from tests.logs.format_samples import ALPACA, BAD, CHATGPT, CHITCHAT, CLAUDE, GOOD, OASST, OPENAI, QUESTION, SHAREGPT


def read(path: Path) -> list[ArchivedConversation]:
    """The conversations of a file in which nothing is wrong."""
    events = list(read_conversations(path))
    assert not [event for event in events if isinstance(event, SkippedRecord)]
    return [event for event in events if isinstance(event, ArchivedConversation)]


def read_value(folder: Path, value: Any) -> ArchivedConversation:
    path = folder / "file"
    path.write_text(json.dumps(value))
    (conversation,) = read(path)
    return conversation


def formats(events: list[Event]) -> list[str]:
    return [event.format for event in events if isinstance(event, Recognised)]


def said(conversation: ArchivedConversation) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in conversation.messages]


def parents(conversation: ArchivedConversation) -> dict[str, str | None]:
    return {message.key: message.parent for message in conversation.messages}


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(OPENAI),
        json.dumps(OPENAI, indent=2),
        json.dumps([OPENAI]),
        json.dumps([OPENAI], indent=1),
        json.dumps(OPENAI["messages"]),
        json.dumps(OPENAI["messages"], indent=1),
        f"\ufeff\r\n{json.dumps(OPENAI)}\r\n\r\n",
        json.dumps({"data": [OPENAI]}),
        json.dumps({"version": 3, "rows": [OPENAI]}, indent=2),
    ],
)
def test_openai_messages_are_recognised_however_they_are_laid_out(tmp_path: Path, text: str) -> None:
    path = tmp_path / "notes.txt"
    path.write_text(text, encoding="utf-8", newline="")
    (conversation,) = read(path)
    assert conversation.system_prompt == "S"
    assert said(conversation) == [("user", "Q"), ("assistant", "A")]
    assert parents(conversation) == {"1": None, "2": "1"}


def test_parts_that_are_no_text_are_named_and_tools_are_left_out(tmp_path: Path) -> None:
    messages = [
        {"role": "developer", "content": "D"},
        {"role": "user", "content": [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {}}]},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
        {"role": "tool", "content": "a cat"},
        {"role": "assistant", "content": "A cat."},
        {"role": "assistant", "content": "Really."},
    ]
    conversation = read_value(tmp_path, {"messages": messages, "model": "m"})
    assert conversation.system_prompt == "D"
    assert said(conversation) == [("user", "What is it?\n\n[image]"), ("assistant", "A cat."), ("assistant", "Really.")]
    assert [message.model for message in conversation.messages] == ["", "m", "m"]


def test_sharegpt_keeps_an_answer_that_comes_first(tmp_path: Path) -> None:
    turns = [{"from": "chatgpt", "value": "Hello"}, {"from": "user", "value": "Hi"}, {"from": "bing", "value": "Yes?"}]
    conversation = read_value(tmp_path, [{"conversations": turns, "system": "S"}])
    assert said(conversation) == [("assistant", "Hello"), ("user", "Hi"), ("assistant", "Yes?")]
    assert conversation.system_prompt == "S"


def test_alpaca_has_its_history_before_the_instruction(tmp_path: Path) -> None:
    conversation = read_value(tmp_path, [ALPACA])
    assert said(conversation) == [("user", "Q"), ("assistant", "A"), ("user", "Add\n\n1 + 1"), ("assistant", "2")]
    assert conversation.system_prompt == "S"


def test_an_oasst_tree_keeps_its_branches_and_shows_the_best_ranked(tmp_path: Path) -> None:
    conversation = read_value(tmp_path, OASST)
    assert conversation.key == "oasst:tree"
    assert parents(conversation) == {"r": None, "w": "r", "under": "r", "b": "r", "q": "b", "a": "q"}
    assert conversation.tip == "a"
    assert conversation.messages[0].created == datetime(2023, 1, 2, 2, 4, 5, 6, UTC)


def test_chatgpt_passes_over_what_was_not_said_and_keeps_branches(tmp_path: Path) -> None:
    conversation = read_value(tmp_path, [CHATGPT])
    assert conversation.key == "chatgpt:c-1"
    assert parents(conversation) == {"hello": None, "late": "hello", "answer": "hello"}
    assert [message.content for message in conversation.messages] == ["Draw\n\n[image]", "Other branch", "Done"]
    assert conversation.tip == "answer"
    assert (conversation.title, conversation.archived, conversation.updated) == ("Cats", True, None)
    assert conversation.created == datetime(2024, 1, 1, 0, 0, 0, 250_000, UTC)
    assert conversation.messages[-1].model == "gpt-4o"


def test_claude_messages_answer_the_one_before(tmp_path: Path) -> None:
    conversation = read_value(tmp_path, [CLAUDE])
    assert conversation.key == "claude:u-1"
    assert parents(conversation) == {"m1": None, "m2": "m1", "m3": "m2"}
    assert said(conversation) == [("user", "Tea?"), ("assistant", "Yes."), ("user", "[file: n.txt]\n\nN")]
    assert conversation.created == datetime(2024, 5, 1, 10, 0, 0, 123_456, UTC)


def test_claude_messages_that_name_their_parents_are_a_tree(tmp_path: Path) -> None:
    above = ["00000000-0000-4000-8000-000000000000", "m1", "m1"]
    messages = [m | {"parent_message_uuid": up} for m, up in zip(CLAUDE["chat_messages"], above, strict=True)]
    conversation = read_value(tmp_path, [CLAUDE | {"chat_messages": messages}])
    assert parents(conversation) == {"m1": None, "m2": "m1", "m3": "m1"}


@pytest.mark.parametrize("indent", [None, 2])
def test_chitchat_takes_who_speaks_first_as_the_user(tmp_path: Path, indent: int | None) -> None:
    path = tmp_path / "file"
    path.write_text(json.dumps(CHITCHAT, indent=indent))
    (conversation,) = read(path)
    assert conversation.key == "chitchat:uuid-1"
    assert said(conversation) == [("user", "Hello"), ("user", ""), ("assistant", "Hi")]
    assert conversation.title == "Do you like rain?"
    assert conversation.created == datetime(2018, 5, 2, 19, 38, 15, tzinfo=UTC)
    assert conversation.updated == datetime(2018, 5, 2, 19, 38, 29, tzinfo=UTC)


@pytest.mark.parametrize(
    "record",
    [
        {"prompt": [QUESTION], "chosen": [GOOD], "rejected": [BAD]},
        {"prompt": "Q", "chosen": [QUESTION, GOOD], "rejected": [QUESTION, BAD], "score_chosen": 8.5},
        {"chosen": [QUESTION, GOOD], "rejected": [QUESTION, BAD]},
        {"prompt": "Q", "chosen": "good", "rejected": "bad"},
        {
            "conversations": [{"from": "human", "value": "Q"}],
            "chosen": {"from": "gpt", "value": "good"},
            "rejected": {"from": "gpt", "value": "bad"},
        },
        {"instruction": "Q", "input": "", "chosen": "good", "rejected": "bad"},
    ],
)
def test_a_pair_becomes_two_replies_of_which_one_is_preferred(tmp_path: Path, record: dict[str, Any]) -> None:
    conversation = read_value(tmp_path, [record])
    assert said(conversation) == [("user", "Q"), ("assistant", "good"), ("assistant", "bad")]
    assert parents(conversation) == {"1": None, "2": "1", "3": "1"}
    assert [judgement.preferred_over for judgement in conversation.messages[1].feedback] == ["3"]
    assert conversation.tip == "2"


@pytest.mark.parametrize(
    "record",
    [
        {"messages": [QUESTION, GOOD]},
        {"conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "good"}]},
        {"prompt": [QUESTION], "completion": [GOOD]},
        {"prompt": "Q", "completion": "good"},
    ],
)
@pytest.mark.parametrize(("label", "rating"), [(True, 1), (False, -1)])
def test_a_label_becomes_a_rating_of_the_last_reply(
    tmp_path: Path, record: dict[str, Any], label: bool, rating: int
) -> None:
    conversation = read_value(tmp_path, [record | {"label": label}])
    assert said(conversation) == [("user", "Q"), ("assistant", "good")]
    assert [judgement.rating for judgement in conversation.messages[1].feedback] == [rating]


def test_an_archive_and_a_folder_hold_many_files_of_which_some_are_conversations(tmp_path: Path) -> None:
    folder = tmp_path / "export"
    (folder / "deep").mkdir(parents=True)
    (folder / "conversations-000.json").write_text(json.dumps([CHATGPT]))
    (folder / "deep" / "conversations-001.json").write_text(
        json.dumps([CHATGPT | {"conversation_id": "c-2"}], indent=2)
    )
    (folder / "user.json").write_text('{"id": "me", "email": "me@example.org"}')
    (folder / "chat.html").write_text("<html>")
    (folder / "image.png").write_bytes(b"\x89PNG\0\0")
    archive = tmp_path / "export.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for file in sorted(folder.rglob("*")):
            packed.write(file, file.relative_to(folder))
    for path in (folder, archive):
        counts: list[int] = []
        events = list(read_conversations(path, on_bytes=counts.append))
        assert [event.key for event in events if isinstance(event, ArchivedConversation)] == [
            "chatgpt:c-1",
            "chatgpt:c-2",
        ]
        assert [event.file for event in events if isinstance(event, PassedOver)] == ["user.json"]
        assert [e.file for e in events if isinstance(e, Recognised)] == [
            "conversations-000.json",
            "deep/conversations-001.json",
        ]
        assert sum(counts) == measure_path(path)


def test_a_file_packed_by_gzip_is_read(tmp_path: Path) -> None:
    path = tmp_path / "trees.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps(SHAREGPT).encode()))
    assert len(read(path)) == 1


def test_a_mixed_file_is_read_record_by_record(tmp_path: Path) -> None:
    path = tmp_path / "mixed"
    path.write_text("\n".join(json.dumps(record) for record in (OPENAI, SHAREGPT, ALPACA, CLAUDE, OPENAI)))
    events = list(read_conversations(path))
    assert formats(events) == ["OpenAI messages", "ShareGPT", "Alpaca", "Claude's export"]
    assert len(events) == 9


def test_keys_are_the_same_however_a_record_is_laid_out(tmp_path: Path) -> None:
    (tmp_path / "a").write_text(json.dumps([SHAREGPT, ALPACA]))
    (tmp_path / "b").write_text("\n".join(json.dumps(dict(reversed(record.items()))) for record in (SHAREGPT, ALPACA)))
    first, second = ([conversation.key for conversation in read(tmp_path / name)] for name in "ab")
    assert first == second
    assert len(set(first)) == 2


def test_numbered_records_of_two_data_sets_are_not_taken_for_the_same(tmp_path: Path) -> None:
    other = {"id": "x_0", "conversations": [{"from": "human", "value": "Something else"}]}
    assert read_value(tmp_path, [SHAREGPT]).key != read_value(tmp_path, [other]).key


@pytest.mark.parametrize(
    "text", ["", " \n", "hello", "<html>", "[]", "{}", '{"a": 1}', "[1, 2]", '["a"]', "null", "[[[]]]", "[{"]
)
def test_a_file_of_no_known_form_is_refused_with_what_was_looked_for(tmp_path: Path, text: str) -> None:
    path = tmp_path / "conversations.json"
    path.write_text(text)
    with pytest.raises(InvalidInput, match=r"conversations\.json .*Looked for: our own JSON, ChatGPT's export"):
        list(read_conversations(path))


def test_a_path_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no file or folder"):
        list(read_conversations(tmp_path / "gone"))
