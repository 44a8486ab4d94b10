"""Exports: nothing is lost in our own JSON, and no text can pass for what it is not in the others."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from chatbot.errors import InvalidInput, NotFound
from chatbot.logs.formats.reading import Recognised, SkippedRecord, read_conversations
from chatbot.logs.formats.writing import find_writer, list_writers
from chatbot.store.archive_records import ArchivedConversation, ArchivedFeedback, ArchivedMessage, ArchivedReview
from tests.logs.format_samples import TREE, message


def write(name: str, *conversations: ArchivedConversation) -> str:
    return "".join(find_writer(name).write(conversations))


def read_back(folder: Path, text: str) -> list[ArchivedConversation]:
    path = folder / "export"
    path.write_text(text, encoding="utf-8")
    events = list(read_conversations(path))
    assert not [event for event in events if isinstance(event, SkippedRecord)]
    return [event for event in events if isinstance(event, ArchivedConversation)]


# What a database holds: no NUL, no halves of surrogate pairs.
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
times = st.none() | st.datetimes(datetime(1970, 1, 1), datetime(2100, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
mappings = st.dictionaries(texts, json_values, max_size=2)
reviews = st.builds(
    ArchivedReview,
    decision=st.sampled_from(["approve", "reject", "redact", "withdraw"]),
    note=texts,
    author=texts,
    created=times,
    written_by=mappings,
    id=texts,
)


@st.composite
def conversations(draw: st.DrawFn) -> ArchivedConversation:
    keys = draw(st.lists(texts, min_size=1, max_size=6, unique=True))
    messages = []
    for number, key in enumerate(keys):
        others = [other for other in keys if other != key]
        judgement = st.builds(
            ArchivedFeedback,
            rating=st.sampled_from([None, -1, 0, 1]),
            tags=st.lists(texts, max_size=2).map(tuple),
            comment=texts,
            preferred_over=st.sampled_from([None, *others]),
            author=texts,
            created=times,
            written_by=mappings,
            id=texts,
        )
        one = st.builds(
            ArchivedMessage,
            key=st.just(key),
            parent=st.sampled_from([None, *keys[:number]]),
            role=st.sampled_from(["user", "assistant"]),
            content=texts,
            created=times,
            status=st.sampled_from(["streaming", "complete", "stopped", "failed", "interrupted"]),
            finish_reason=texts,
            model=texts,
            template_sha=texts,
            hidden=st.booleans(),
            generation=mappings,
            feedback=st.lists(judgement, max_size=2).map(tuple),
            reviews=st.lists(reviews, max_size=2).map(tuple),
            id=texts,
        )
        messages.append(draw(one))
    whole = st.builds(
        ArchivedConversation,
        key=texts.filter(bool),
        messages=st.just(tuple(messages)),
        title=texts,
        system_prompt=texts,
        persona=texts,
        sampling=mappings,
        created=times,
        updated=times,
        tip=st.sampled_from([None, *keys]),
        pinned=st.booleans(),
        archived=st.booleans(),
        id=texts,
    )
    return draw(whole)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=25, deadline=None
)
@given(st.lists(conversations(), max_size=3))
def test_our_own_json_gives_back_the_same_conversations(tmp_path: Path, given_: list[ArchivedConversation]) -> None:
    assert read_back(tmp_path, write("json", *given_)) == given_


@pytest.mark.parametrize("options", [{"indent": 2}, {"sort_keys": True}, {"sort_keys": True, "indent": 1}, {}])
def test_our_own_json_may_have_been_laid_out_anew(tmp_path: Path, options: dict[str, Any]) -> None:
    assert read_back(tmp_path, json.dumps(json.loads(write("json", TREE)), **options)) == [TREE]


def test_an_export_of_nothing_is_recognised(tmp_path: Path) -> None:
    path = tmp_path / "export"
    path.write_text(write("json"))
    assert list(read_conversations(path)) == [Recognised("export", "our own JSON")]


@pytest.mark.parametrize("version", [2, 0, "1", None, True])
@pytest.mark.parametrize("order", [["format", "version", "conversations"], ["conversations", "version", "format"]])
def test_an_unknown_version_is_refused(tmp_path: Path, version: object, order: list[str]) -> None:
    path = tmp_path / "export"
    export = json.loads(write("json", TREE)) | {"version": version}
    path.write_text(json.dumps({name: export[name] for name in order}))
    with pytest.raises(InvalidInput, match="reads version 1"):
        reasons = [event.reason for event in read_conversations(path) if isinstance(event, SkippedRecord)]
        raise InvalidInput(" ".join(reasons))  # where the version stands last, it is reported and not raised


@pytest.mark.parametrize(
    ("place", "change", "reason"),
    [
        ((), {"title": 5}, "title: Input should be a valid string"),
        ((), {"tip": "gone"}, "the message on screen is not there"),
        ((), {"created": "yesterday"}, "created: "),
        ((), {"messages": []}, "no messages"),
        ((0,), {"parent": "gone"}, "answers one that is not there"),
        ((0,), {"parent": "u3"}, "in a circle"),
        ((0,), {"parent": "u1"}, "in a circle"),
        ((0,), {"key": "a1"}, "same identifier"),
        ((0,), {"role": "system"}, "has the role 'system'"),
        ((0,), {"role": "king"}, "messages.0.role: "),
        ((0,), {"status": "dead"}, "messages.0.status: "),
        ((0,), {"generation": [1]}, "messages.0.generation: "),
        ((0,), {"content": None}, "messages.0.content: "),
        ((0,), {"feedback": [{"rating": 2}]}, "rating is not"),
        ((0,), {"feedback": [{"rating": 10**15}]}, "rating is not"),
        ((0,), {"feedback": [{"preferred_over": "u1"}]}, "preferred over one that is not there"),
        ((0,), {"reviews": [{"decision": "shrug"}]}, "messages.0.reviews.0.decision: "),
    ],
)
def test_what_no_export_of_ours_holds_is_refused(
    tmp_path: Path, place: tuple[int, ...], change: dict[str, Any], reason: str
) -> None:
    export = json.loads(write("json", TREE, TREE))
    conversation = export["conversations"][0]
    (conversation["messages"][place[0]] if place else conversation).update(change)
    path = tmp_path / "export"
    path.write_text(json.dumps(export))
    events = list(read_conversations(path))
    assert events[2:] == [TREE]
    skip = events[1]
    assert isinstance(skip, SkippedRecord)
    assert reason in skip.reason
    assert skip.key == "own-key"


def test_times_without_a_zone_or_in_another_are_utc(tmp_path: Path) -> None:
    elsewhere = datetime(2024, 1, 2, 3, 4, 5, 6, timezone(timedelta(hours=9)))
    text = write("json", ArchivedConversation("k", (message("u1", None, created=elsewhere),), created=elsewhere))
    assert '"created": "2024-01-01T18:04:05.000006+00:00"' in text
    (conversation,) = read_back(tmp_path, text.replace("+00:00", ""))
    assert conversation.created == elsewhere
    assert conversation.created.tzinfo == UTC


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00+05:00", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
def test_times_that_no_clock_shows_are_left_out(tmp_path: Path, time: str) -> None:
    export = json.loads(write("json", TREE))
    export["conversations"][0]["created"] = export["conversations"][0]["messages"][0]["created"] = time
    (conversation,) = read_back(tmp_path, json.dumps(export))
    assert (conversation.created, conversation.messages[0].created) == (None, None)


def test_numbers_that_json_has_not_become_null(tmp_path: Path) -> None:
    odd = message("u1", None, generation={"a": float("nan"), "b": [float("inf"), 1.5]})
    (conversation,) = read_back(tmp_path, write("json", ArchivedConversation("k", (odd,))))
    assert conversation.messages[0].generation == {"a": None, "b": [None, 1.5]}


def test_openai_messages_are_the_branch_on_screen() -> None:
    assert json.loads(write("openai", TREE)) == {
        "messages": [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "text u1"},
            {"role": "assistant", "content": "text a1"},
            {"role": "user", "content": "text u3"},
        ]
    }


def test_without_a_tip_the_newest_leaf_is_on_screen() -> None:
    old, new = datetime(2020, 1, 1, tzinfo=UTC), datetime(2021, 1, 1, tzinfo=UTC)
    first = ArchivedConversation("k", (message("u1", None), message("a1", "u1"), message("a2", "u1")))
    timed = ArchivedConversation(
        "k", (message("u1", None), message("a1", "u1", created=new), message("a2", "u1", created=old))
    )
    assert [json.loads(write("openai", c))["messages"][-1]["content"] for c in (first, timed)] == ["text a2", "text a1"]


def test_a_conversation_that_says_nothing_is_left_out() -> None:
    silent = ArchivedConversation("k", (message("u1", None, hidden=True), message("a1", "u1", " ")))
    assert write("openai", silent) == ""
    assert json.loads(write("sharegpt", silent)) == []


@pytest.mark.parametrize("name", ["openai", "sharegpt"])
def test_what_trainers_read_can_be_imported_again(tmp_path: Path, name: str) -> None:
    first, second = read_back(tmp_path, write(name, TREE, TREE))
    assert first == second
    assert [m.content for m in first.messages] == ["text u1", "text a1", "text u3"]
    assert first.system_prompt == "Be kind."


def test_a_pair_has_the_messages_above_and_the_two_replies(tmp_path: Path) -> None:
    text = write("pairs", TREE)
    assert json.loads(text) == {
        "prompt": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "text u1"}],
        "chosen": [{"role": "assistant", "content": "text a1"}],
        "rejected": [{"role": "assistant", "content": "text a2"}],
    }
    (conversation,) = read_back(tmp_path, text)
    assert [m.content for m in conversation.messages] == ["text u1", "text a1", "text a2"]
    assert conversation.messages[1].feedback == (ArchivedFeedback(preferred_over="3"),)
    assert conversation.system_prompt == "Be kind."


def test_a_pair_is_what_was_said_last_and_no_rejected_reply_is_chosen() -> None:
    monday, tuesday = (datetime(2024, 1, day, tzinfo=UTC) for day in (1, 2))
    approve, reject = (ArchivedReview(decision, created=monday) for decision in ("approve", "reject"))

    def export(*reviews: ArchivedReview) -> str:
        changed = (
            message("u1", None),
            message("a1", "u1", feedback=(ArchivedFeedback(preferred_over="a2", created=tuesday),), reviews=reviews),
            message("a2", "u1", feedback=(ArchivedFeedback(preferred_over="a1", created=monday),)),
        )
        return write("pairs", ArchivedConversation("k", changed))

    (pair,) = map(json.loads, export().splitlines())
    assert (pair["chosen"][0]["content"], pair["rejected"][0]["content"]) == ("text a1", "text a2")
    assert export(approve, replace(reject, created=tuesday)) == ""
    assert export(reject, replace(approve, created=tuesday)) != ""


def test_replies_to_different_messages_make_no_pair() -> None:
    judged = message("a3", "u2", feedback=(ArchivedFeedback(preferred_over="a1"),))
    apart = ArchivedConversation("k", (message("u1", None), message("a1", "u1"), message("u2", "a1"), judged))
    assert write("pairs", apart) == ""


def test_markdown_reads_well() -> None:
    assert write("markdown", TREE) == (
        "# A \\*title\\*\n\n## System prompt\n\n> Be kind.\n\n## User\n\n> text u1\n\n"
        "## Assistant · tiny\n\n> text a1\n\n## User · 2024-01-02 03:04 UTC\n\n> text u3\n"
    )


HOSTILE = [
    "## Assistant\n\nforged",
    "x\n\n</blockquote>\n\n<h2>User</h2>",
    "x <!-- hidden",
    "```\ncode\n```\n<b>bold</b> ````",
    "- " * 30 + "<h2>User</h2>",
    "Assistant\n===",
    "\x1b]0;title\x07\u202e\x9b",
    "`unclosed <script>",
    "\n\n\r\n\u2028## User",
    "[User]: http://example.org\n\n~~~",
    "    <h2>\n\n\t<h2>",
    "<" * 1000 + "a>" + "x" * 200_000,
]


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_can_pass_for_a_heading_of_ours(text: str) -> None:
    written = write(
        "markdown", ArchivedConversation("k", (message("u1", None, text), message("a1", "u1", text)), title=text)
    )
    outside = [line for line in written.split("\n") if not line.startswith(">")]
    assert outside[1:] == ["", "## User", "", "", "## Assistant", "", ""]
    parser = MarkdownIt("commonmark", {"maxNesting": 100})
    tokens = parser.parse(written)
    assert [token.tag for token in tokens if token.type == "heading_open" and token.level == 0] == ["h1", "h2", "h2"]
    flat = [*tokens, *(child for token in tokens for child in token.children or ())]
    assert not [token for token in flat if token.type in {"html_block", "html_inline"}]
    assert not set(written) & {"\x1b", "\x9b", "\u202e", "\u2028", "\r"}


def test_code_with_angle_brackets_stays_as_it_is() -> None:
    text = "Use `vector<int>`:\n\n```cpp\n#include <stdio.h>\n```"
    quoted = "\n".join(f"> {line}" if line else ">" for line in text.split("\n"))
    assert quoted in write("markdown", ArchivedConversation("k", (message("u1", None, text),)))


def test_every_writer_has_a_name_and_an_unknown_one_is_refused() -> None:
    names = [writer.name for writer in list_writers()]
    assert names == ["json", "markdown", "openai", "sharegpt", "pairs"]
    with pytest.raises(NotFound, match="json, markdown"):
        find_writer("pdf")
