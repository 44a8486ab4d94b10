"""Files that are broken or made to do harm: what can be read goes in, what cannot is named, and nothing falls over."""

from __future__ import annotations

import contextlib
import io
import json
import os
import tracemalloc
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatbot.errors import InvalidInput
from chatbot.logs.formats.json_records import Record, read_records
from chatbot.logs.formats.layout import Layout
from chatbot.logs.formats.reading import Recognised, SkippedRecord, read_conversations
from chatbot.logs.formats.source import Limits, PassedOver
from chatbot.logs.formats.writing import find_writer
from chatbot.store.archive_records import ArchivedConversation
from tests.logs.format_samples import (
    ALPACA,
    BAD,
    CHATGPT,
    CHITCHAT,
    CLAUDE,
    GOOD,
    OASST,
    OPENAI,
    QUESTION,
    SHAREGPT,
    TREE,
)


def record(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


def line(text: str) -> str:
    return json.dumps(record(text))


def read(path: Path, limits: Limits | None = None) -> tuple[list[str], list[SkippedRecord]]:
    """The first words of each conversation, and what was skipped."""
    events = list(read_conversations(path, limits=limits))
    texts = [event.messages[0].content for event in events if isinstance(event, ArchivedConversation)]
    return texts, [event for event in events if isinstance(event, SkippedRecord)]


def read_bytes(folder: Path, data: bytes, limits: Limits | None = None) -> tuple[list[str], list[SkippedRecord]]:
    path = folder / "file"
    path.write_bytes(data)
    return read(path, limits)


BROKEN = [
    (b'{"messages": [{"role": "user"', "not JSON"),
    (b"rubbish", "not JSON"),
    (b'{"messages": [{"role": "user", "content": "caf\xe9"}]}', "not UTF-8 (byte 0xe9)"),
    (b'{"messages": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested"),
    (b'{"messages": [' + b'{"a":' * 300 + b"1" + b"}" * 300 + b"]}", "nested more than 200 deep"),
    (b'{"messages": []}', "no messages"),
    (b'{"messages": [{"role": "user", "content": " "}]}', "no messages"),
    (b'{"messages": [{"role": "king", "content": "x"}]}', "unknown role 'king'"),
    (b'{"messages": [{"role": "user", "content": 5}]}', "neither text nor a list"),
    (b'{"messages": [{"role": "user", "content": "x"}, 7]}', "message 2 has no role"),
    (b'{"something": "else"}', "no known form"),
    (b'{"instruction": {}, "output": "x"}', "instruction or input is no text"),
    (b'{"prompt": "Q", "chosen": "same", "rejected": "same"}', "do not differ"),
    (b'{"messages": [{"role": "user", "content": "' + b"x" * 3000 + b'"}]}', "longer than 2,000 bytes"),
]


@pytest.mark.parametrize(("bad", "reason"), BROKEN, ids=range(len(BROKEN)))
@pytest.mark.parametrize("first", [True, False])
def test_a_bad_line_costs_itself_and_is_named(tmp_path: Path, bad: bytes, reason: str, first: bool) -> None:
    limits = Limits(record=2000) if "2,000" in reason else None
    lines = [bad, line("one").encode()] if first else [line("one").encode(), bad]
    texts, skipped = read_bytes(tmp_path, b"\n".join([*lines, line("two").encode()]), limits)
    assert texts == ["one", "two"]
    (skip,) = skipped
    assert reason in skip.reason
    assert (skip.file, skip.place) == ("file", "line 1" if first else "line 2")


@pytest.mark.parametrize(("bad", "reason"), BROKEN[1:], ids=range(1, len(BROKEN)))
def test_a_bad_record_in_a_list_costs_itself_and_is_named(tmp_path: Path, bad: bytes, reason: str) -> None:
    limits = Limits(record=2000) if "2,000" in reason else None
    data = b"[\n" + b",\n".join([line("one").encode(), bad, line("two").encode()]) + b"\n]"
    texts, skipped = read_bytes(tmp_path, data, limits)
    assert texts == ["one", "two"]
    assert [skip.place for skip in skipped] == ["record 2, line 3"]
    assert reason in skipped[0].reason


@pytest.mark.parametrize("end", ['[{"role": "us', "", '"', "\\"])
def test_what_stands_before_the_break_goes_in(tmp_path: Path, end: str) -> None:
    texts, skipped = read_bytes(tmp_path, f'[{line("one")}, {line("two")}, {{"messages": {end}'.encode())
    assert texts == ["one", "two"]
    assert [(skip.place, skip.reason) for skip in skipped] == [("record 3, line 1", "the file ends in the middle")]


def test_brackets_that_do_not_match_end_the_file(tmp_path: Path) -> None:
    texts, skipped = read_bytes(tmp_path, f'[{line("one")}, {{"messages": [}}, {line("two")}]'.encode())
    assert texts == ["one"]
    assert "brackets do not match" in skipped[0].reason


def test_halves_of_surrogate_pairs_and_nul_become_the_sign_for_unknown_ones(tmp_path: Path) -> None:
    text = r'{"messages": [{"role": "user", "content": "a\ud800b\u0000c\ud83d\ude00\udc00"}]}'
    assert read_bytes(tmp_path, text.encode())[0] == ["a\ufffdb\ufffdc😀\ufffd"]


@pytest.mark.parametrize(
    "number",
    [
        "1e400",
        "-1e400",
        "NaN",
        "Infinity",
        "9" * 5000,
        "1e308",
        "-62135596801",
        "true",
        "[]",
        '"0001-01-01T00:00:00Z"',
        "4133980800",
    ],
)
def test_a_time_that_is_none_is_not_there(tmp_path: Path, number: str) -> None:
    node = '{"message": {"author": {"role": "user"}, "content": {"parts": ["hi"]}, "create_time": NUMBER}}'
    path = tmp_path / "file"
    path.write_text(f'[{{"id": "1", "create_time": {number}, "mapping": {{"a": {node.replace("NUMBER", number)}}}}}]')
    (conversation,) = [event for event in read_conversations(path) if isinstance(event, ArchivedConversation)]
    assert conversation.created is None
    assert conversation.messages[0].created is None


def test_a_circle_of_messages_is_no_conversation(tmp_path: Path) -> None:
    said = {"author": {"role": "user"}, "content": {"parts": ["hi"]}}
    circle = {"a": {"parent": "b", "message": said}, "b": {"parent": "a", "message": said}}
    _, skipped = read_bytes(tmp_path, json.dumps([{"id": "1", "mapping": circle}, record("one")]).encode())
    assert [(skip.key, "circle" in skip.reason) for skip in skipped] == [("chatgpt:1", True)]


def test_a_chain_of_ten_thousand_messages_is_read(tmp_path: Path) -> None:
    said = {"author": {"role": "user"}, "content": {"parts": ["hi"]}}
    chain = {str(n): {"parent": str(n + 1), "message": said} for n in range(10_000)}
    path = tmp_path / "file"
    path.write_text(json.dumps([{"id": "1", "mapping": chain, "current_node": "0"}]))
    (conversation,) = [event for event in read_conversations(path) if isinstance(event, ArchivedConversation)]
    assert len(conversation.messages) == 10_000
    assert (conversation.messages[0].key, conversation.tip) == ("9999", "0")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_another_encoding_is_named(tmp_path: Path, encoding: str) -> None:
    with pytest.raises(InvalidInput, match="UTF-16"):
        read_bytes(tmp_path, line("one").encode(encoding))


def test_names_and_reasons_hold_no_control_characters(tmp_path: Path) -> None:
    path = tmp_path / "a\x1b[31m.json"
    bad = {"uuid": "\x1b]0;x\x07", "chat_messages": [{"sender": "\x1b[2J"}]}
    path.write_text(json.dumps([bad, record("one")]))
    events = [event for event in read_conversations(path) if isinstance(event, SkippedRecord | Recognised)]
    assert len(events) == 3
    assert "\x1b" not in repr(events).replace("\\x1b", "\x1b")


def pack(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", method) as archive:
        warnings.simplefilter("ignore")  # two members of one name
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def test_members_are_read_and_never_written(tmp_path: Path) -> None:
    names = ["../../outside.json", "/etc/outside.json", "C:\\outside.json", "a/../b.json"]
    path = pack(tmp_path / "a.zip", {name: line(name).encode() for name in names})
    assert sorted(read(path)[0]) == sorted(names)
    assert sorted(tmp_path.rglob("*")) == [path]


def test_a_decompression_bomb_is_stopped(tmp_path: Path) -> None:
    path = pack(tmp_path / "bomb.zip", {"a.json": line("one").encode() + b"\n" + b" " * 30_000_000})
    texts, skipped = read(path, Limits(unpacked=1_000_000, ratio=20))
    assert texts == ["one"]
    assert "unpacks to more than" in skipped[0].reason


def test_archives_in_a_folder_are_read_each_with_its_own_budget(tmp_path: Path) -> None:
    pack(tmp_path / "a.zip", {"one.json": line("one").encode()})
    pack(tmp_path / "bomb.zip", {"a.json": line("two").encode() + b"\n" + b" " * 30_000_000})
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04" + b"x" * 50)
    texts, skipped = read(tmp_path, Limits(unpacked=1_000_000, ratio=20))
    assert texts == ["one", "two"]
    assert any("unpacks to more than" in one.reason for one in skipped)
    events = list(read_conversations(tmp_path))
    assert [one.file for one in events if isinstance(one, Recognised)] == ["a.zip/one.json", "bomb.zip/a.json"]
    assert any(isinstance(one, PassedOver) and one.file == "broken.zip" for one in events)


def test_members_share_what_an_archive_may_unpack_to(tmp_path: Path) -> None:
    path = pack(tmp_path / "many.zip", {f"{n}.json": line(str(n)).encode() + b" " * 100_000 for n in range(20)})
    with_limit = list(read_conversations(path, limits=Limits(unpacked=1_000_000, ratio=1)))
    assert 0 < sum(isinstance(event, ArchivedConversation) for event in with_limit) < 20
    with pytest.raises(InvalidInput, match="more than 10 files"):
        read(path, Limits(members=10))


def test_a_member_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.zip", {"good.json": line("one").encode(), "locked.json": line("two").encode()})
    data = bytearray(path.read_bytes())
    entry = data.rindex(b"PK\x01\x02")
    data[entry + 8] |= 1  # the flag of encryption
    path.write_bytes(data)
    events = list(read_conversations(path))
    assert [event.reason for event in events if isinstance(event, PassedOver)] == [
        "is encrypted; unpack it yourself and import the folder"
    ]
    assert sum(isinstance(event, ArchivedConversation) for event in events) == 1


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_members_that_unpack_without_a_limit_are_not_read(tmp_path: Path, method: int) -> None:
    with pytest.raises(InvalidInput, match="method that is not read"):
        read(pack(tmp_path / "a.zip", {"a.json": line("one").encode()}, method))


@pytest.mark.parametrize("cut", [10, 60, -30])
def test_a_damaged_archive_is_named(tmp_path: Path, cut: int) -> None:
    path = pack(tmp_path / "a.zip", {"a.json": os.urandom(500)})
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(InvalidInput, match="damaged ZIP"):
        read(path)


def test_no_damage_of_an_archive_breaks_the_reader(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.zip", {"é.json": line("one").encode(), "b.json": line("two").encode()})
    whole, random = path.read_bytes(), Random(1)
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(random.randint(1, 4)):
            data[random.randrange(4, len(data))] = random.choice([0, 1, 0x7F, 0xFF, random.randrange(256)])
        path.write_bytes(data)
        with contextlib.suppress(InvalidInput):
            list(read_conversations(path))


def test_a_member_with_a_wrong_checksum_is_reported_after_what_was_read(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.zip", {"a.json": f"{line('one')}\n{line('two')}".encode()}, zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes().replace(b"two", b"TWO"))
    events = list(read_conversations(pack(tmp_path / "b.zip", {"b.json": line("b").encode()})))
    assert len(events) == 2
    with pytest.raises(InvalidInput, match="CRC"):
        read(path)


def test_links_are_not_followed_out_of_a_folder(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.json").write_text(line("secret"))
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "good.json").write_text(line("one"))
    (folder / "link.json").symlink_to(outside / "secret.json")
    (folder / "folder").symlink_to(outside)
    os.mkfifo(folder / "pipe.json")
    events = list(read_conversations(folder))
    assert [event.messages[0].content for event in events if isinstance(event, ArchivedConversation)] == ["one"]
    assert {event.file for event in events if isinstance(event, PassedOver)} == {"link.json", "folder", "pipe.json"} - {
        "folder"
    }


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InvalidInput, match="neither a file nor a folder"):
        read(tmp_path / "pipe")


class Dribbling(io.BufferedReader):
    """Hands out a few bytes at a time, so that records and escapes break everywhere."""

    def __init__(self, data: bytes, step: int) -> None:
        super().__init__(io.BytesIO(data))
        self._step = step

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(self._step)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 99) | st.text(st.sampled_from('a"\\[]{},:\n é\x00')),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.sampled_from('k"\\{:,')), inner, max_size=3),
    max_leaves=12,
)


def values(data: bytes, layout: Layout, step: int) -> Iterator[tuple[str, Any]]:
    for found in read_records(Dribbling(data, step), layout, Limits()):
        assert isinstance(found, Record)
        yield found.name, found.value


def unstorable(value: Any) -> Any:
    return json.loads(json.dumps(value).replace("\\u0000", "\\ufffd"))


@settings(deadline=None)
@given(st.lists(JSON), st.integers(1, 9), st.sampled_from([None, 1]), st.booleans())
def test_a_list_is_cut_as_the_standard_library_reads_it(
    records: list[Any], step: int, indent: int | None, ascii_only: bool
) -> None:
    data = json.dumps(records, indent=indent, ensure_ascii=ascii_only).encode()
    assert [value for _, value in values(data, "members", step)] == unstorable(records)


@settings(deadline=None)
@given(st.dictionaries(st.text('ab"\\:,{'), JSON), st.integers(1, 9))
def test_an_object_is_cut_as_the_standard_library_reads_it(records: dict[str, Any], step: int) -> None:
    assert dict(values(json.dumps(records).encode(), "members", step)) == unstorable(records)


@settings(deadline=None)
@given(st.lists(JSON, max_size=4), st.lists(JSON, max_size=4), st.integers(1, 9))
def test_lists_in_an_object_are_cut_as_the_standard_library_reads_them(a: list[Any], b: list[Any], step: int) -> None:
    data = json.dumps({"format": {"x": [1]}, "a": a, "b": b}).encode()
    assert list(values(data, "lists", step)) == [("format", {"x": [1]}), *(("", v) for v in unstorable([*a, *b]))]


@settings(deadline=None)
@given(st.binary(max_size=200) | st.text('[]{}",:\\ a1\n', max_size=60).map(str.encode), st.integers(1, 9))
def test_no_bytes_break_the_reader(data: bytes, step: int) -> None:
    for layout in ("lines", "values", "members", "lists"):
        list(read_records(Dribbling(data, step), layout, Limits(record=50, depth=3)))


def spoil(value: Any, random: Random) -> Any:
    """`value` with some of its parts gone or of another type."""
    if random.random() < 0.06:
        return random.choice([None, True, -1, 1e308, "x", "", [], {}, [None], {"a": []}, 10**19])
    if isinstance(value, dict):
        return {key: spoil(part, random) for key, part in value.items() if random.random() > 0.03}
    return [spoil(part, random) for part in value] if isinstance(value, list) else value


def test_fields_of_the_wrong_type_break_no_reader(tmp_path: Path) -> None:
    random = Random(1)
    pair = {"prompt": [QUESTION], "chosen": [GOOD], "rejected": [BAD], "system": "S"}
    rated = {"messages": [QUESTION, GOOD], "label": True}
    own = json.loads("".join(find_writer("json").write([TREE])))["conversations"][0]
    samples = [OPENAI, SHAREGPT, ALPACA, CHATGPT, CLAUDE, CHITCHAT["uuid-1"], OASST, pair, rated, own]
    path = tmp_path / "spoilt"
    path.write_text("\n".join(json.dumps(spoil(sample, random)) for _ in range(150) for sample in samples))
    events = list(read_conversations(path))
    assert sum(isinstance(event, ArchivedConversation) for event in events) > 300
    assert sum(isinstance(event, SkippedRecord) for event in events) > 300


@pytest.mark.parametrize("lines", [True, False])
def test_memory_holds_one_record_of_a_long_file(tmp_path: Path, lines: bool) -> None:
    path = tmp_path / "long"
    with path.open("w") as file:
        file.write("" if lines else "[")
        for number in range(4_000):
            file.write(line(f"{number} " + "words " * 500) + ("\n" if lines else ",\n"))
        file.write("\n" if lines else f"{line('end')}]")
    assert path.stat().st_size > 12_000_000
    tracemalloc.start()
    try:
        count = sum(isinstance(event, ArchivedConversation) for event in read_conversations(path))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == (4_000 if lines else 4_001)
    assert peak < 4_000_000


@pytest.mark.parametrize("opening", ['{"messages": [{"role": "user", "content": "', '[{"a": "'])
def test_memory_does_not_hold_a_record_without_end(tmp_path: Path, opening: str) -> None:
    path = tmp_path / "endless"
    with path.open("w") as file:
        file.write(line("one") + "\n" if opening[0] == "{" else f"[{line('one')},")
        file.write(opening)
        for _ in range(20):
            file.write("x" * 1_000_000)
    tracemalloc.start()
    try:
        texts, skipped = read(path, Limits(record=100_000))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert texts == ["one"]
    assert len(skipped) == 1
    assert peak < 4_000_000


def test_a_bad_record_at_the_beginning_does_not_hide_what_the_file_is(tmp_path: Path) -> None:
    texts, skipped = read_bytes(tmp_path, b'{"n": 1, "data": [%s, {"bad": \xff}]}' % line("one").encode())
    assert (texts, len(skipped)) == (["one"], 1)
