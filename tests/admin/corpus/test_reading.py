"""Each kind of file, packed, in other encodings, damaged and hostile."""

from __future__ import annotations

import gzip
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest
import zstandard

from chatbot.admin.corpus import epub, unpacking
from chatbot.admin.corpus.drafts import Draft, Intake
from chatbot.admin.corpus.reading import Reader
from chatbot.admin.corpus.request import CorpusRequest
from chatbot.admin.corpus.sources import list_sources
from chatbot.errors import InvalidInput
from tests.admin.corpus.conftest import Make
from tests.admin.corpus.samples import CONTAINER, PACKAGE, make_epub, make_pdf, make_text, write_lines


def read(path: Path, intake: Intake | None = None, **more: Any) -> list[tuple[str, Draft]]:
    """The documents below a path, each with its text."""
    intake = intake or Intake()
    request = CorpusRequest("x", (path,), **more)
    reader = Reader(request, intake, lambda count: None)
    return [("".join(one.read()), one) for source in list_sources([path], intake) for one in reader.read(source)]


def write(path: Path, data: bytes | str) -> Path:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def refuse(path: Path, **more: Any) -> InvalidInput:
    with pytest.raises(InvalidInput) as told:
        read(path, **more)
    assert str(path.name) in told.value.message
    return told.value


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a", "a.py", "a.TXT"])
def test_plain_text_is_read_as_it_is(tmp_path: Path, name: str) -> None:
    text = "# A *title*\r\n\r\ntext – 你好\n"
    ((found, draft),) = read(write(tmp_path / name, text))
    assert found == text
    assert draft.source == name


def test_packed_files_are_unpacked(tmp_path: Path) -> None:
    text = make_text(1, 300_000)
    data = text.encode()
    frames = zstandard.ZstdCompressor().compress(data[:1000]) + zstandard.ZstdCompressor().compress(data[1000:])
    assert read(write(tmp_path / "a.txt.gz", gzip.compress(data)))[0][0] == text
    assert read(write(tmp_path / "b.txt.zst", frames))[0][0] == text
    lines = write(tmp_path / "c.jsonl.zst", zstandard.ZstdCompressor().compress(b'{"text": "x"}\n'))
    assert [found for found, _ in read(lines)] == ["x"]


@pytest.mark.parametrize("name", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_marks_and_zeros_tell_the_encoding(tmp_path: Path, name: str) -> None:
    text = make_text(1) + " äöü 你好\n"
    assert read(write(tmp_path / "a.txt", text.encode(name)))[0][0] == text


def test_another_encoding_is_detected_and_told_or_named(tmp_path: Path) -> None:
    text = "Nachdem die Gäste gegangen waren, saß sie müde am Küchentisch und träumte. " * 50
    path = write(tmp_path / "a.txt", text.encode("cp1252"))
    intake = Intake()
    assert read(path, intake)[0][0] == text
    assert sum(intake.encodings.values()) == 1
    assert read(path, encoding="latin-1")[0][0] == text
    chinese = "老人沿着河边慢慢地走，想起了自己的童年。" * 100
    assert read(write(tmp_path / "b.txt", chinese.encode("gb18030")))[0][0] == chinese
    assert "is not ascii: byte" in refuse(path, encoding="ascii").message


def test_damaged_utf8_is_not_taken_for_something_else(tmp_path: Path) -> None:
    data = ("你好，世界。" * 100_000).encode()
    place = 900_003
    told = refuse(write(tmp_path / "a.txt", data[:place] + b"\xff" + data[place:]))
    assert f"damage at byte {place:,}" in told.message
    assert "iconv" in told.hint


def test_what_is_no_text_is_told_by_name(tmp_path: Path) -> None:
    folder = tmp_path / "all"
    folder.mkdir()
    write(folder / "empty.txt", b"")
    write(folder / "program", b"\x7fELF\x02\x01\x01" + bytes(100))
    write(folder / "picture.png", b"\x89PNG\r\n\x1a\n\x00\x01" * 10)
    write(folder / "late.txt", b"text " * 40_000 + b"\x00")
    write(folder / "list.json", "[]")
    write(folder / ".hidden.txt", "hidden")
    write(folder / "LICENSE.txt", "MIT License")
    write(folder / "good.txt", "good")
    write(folder / "evil\x1b[31m\u202e\nname.txt", "good too")
    (folder / "link.txt").symlink_to(folder / "good.txt")
    os.mkfifo(folder / "pipe")
    (folder / ".git").mkdir()
    write(folder / ".git" / "config.txt", "hidden")
    intake = Intake()
    found = read(folder, intake)
    assert sorted(text for text, _ in found) == ["good", "good too"]
    assert all(one.source.isprintable() for _, one in found)
    assert dict(intake.passed_over) == {"is empty": 1, "is binary": 3, "is JSON": 1, "is no file": 1}
    assert "program is binary" in intake.named
    for name in ("empty.txt", "program", "list.json", "pipe"):
        refuse(folder / name)
    assert refuse(tmp_path / "nothing").message.startswith("There is no file or folder")


def test_a_file_named_twice_is_read_once(tmp_path: Path) -> None:
    write(tmp_path / "a.txt", "a")
    assert len(list_sources([tmp_path / "a.txt", tmp_path, tmp_path / "a.txt"], Intake())) == 1


@pytest.mark.parametrize("name", ["a.txt.gz", "a.txt.zst"])
def test_damaged_and_cut_archives_are_told(tmp_path: Path, name: str) -> None:
    data = make_text(1, 200_000).encode()
    packed = (
        gzip.compress(data) if name.endswith("gz") else zstandard.ZstdCompressor(write_checksum=True).compress(data)
    )
    refuse(write(tmp_path / name, packed[:-30]))
    refuse(write(tmp_path / name, packed[:1000] + bytes(200) + packed[1200:]))


@pytest.mark.parametrize("name", ["a.txt.gz", "a.txt.zst"])
def test_a_decompression_bomb_is_stopped(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "ALWAYS", 1 << 20)
    data = b"a" * (8 << 20)
    packed = gzip.compress(data) if name.endswith("gz") else zstandard.ZstdCompressor().compress(data)
    assert "bomb" in refuse(write(tmp_path / name, packed)).message


def test_lines_of_json(tmp_path: Path) -> None:
    rows: list[object] = [
        {"text": "one", "source": "wiki\x1b", "license": "MIT", "language": "EN-us"},
        "two",
        {"body": "no text"},
        {"text": 5},
        {"text": "three\ud800"},
    ]
    path = tmp_path / "a.jsonl"
    lines = [json.dumps(row) for row in rows]
    path.write_bytes("\n".join([*lines, "{broken", "", "[" * 100_000]).encode() + b'\n{"text": "\xff"}\n')
    intake = Intake()
    found = read(path, intake)
    assert [text for text, _ in found] == ["one", "two", "three\ufffd"]
    assert [(one.source, one.licence, one.language) for _, one in found] == [
        ("wiki␛", "MIT", "en"),
        ("a.jsonl:2", "", ""),
        ("a.jsonl:5", "", ""),
    ]
    assert dict(intake.passed_over) == {"a line has no text": 2, "a line is no JSON": 3}
    assert len(intake.named) == 2
    assert read(path, field="body")[1][0] == "no text"


def test_chats_and_lines_without_text_are_refused_with_what_to_do(tmp_path: Path) -> None:
    chats = write_lines(tmp_path / "a.jsonl", [{"messages": [{"role": "user", "content": "hi"}]}])
    assert "dataset build" in refuse(chats).message
    tree = write_lines(tmp_path / "c.jsonl", [{"prompt": {"text": "hi", "replies": []}}])
    assert "dataset build" in refuse(tree).message
    assert "--field" in refuse(write_lines(tmp_path / "b.jsonl", [{"content": "hi"}])).hint


def test_a_line_that_is_too_long_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatbot.admin.corpus.json_lines.LONGEST", 100)
    intake = Intake()
    rows = [{"text": text} for text in ("a", "b" * 1000, "c")]
    assert [text for text, _ in read(write_lines(tmp_path / "a.jsonl", rows), intake)] == ["a", "c"]
    assert sum(intake.passed_over.values()) == 1


def test_the_main_text_of_a_page_and_its_licence(tmp_path: Path) -> None:
    article = "".join(f"<p>{make_text(n, 300)}</p>" for n in range(4))
    page = (
        "<html><head><title>T</title><script>var x = 1</script></head><body><nav><a href='/'>Home</a></nav>"
        f"<article><h1>A story</h1>{article}<a rel='license' href='https://creativecommons.org/licenses/by/4.0/'>CC</a>"
        "</article><footer>Imprint</footer></body></html>"
    )
    ((text, draft),) = read(write(tmp_path / "a.html", page))
    assert make_text(2, 300).split(".")[0] in text
    assert "var x" not in text
    assert "Imprint" not in text
    assert draft.licence == "CC BY 4.0"
    latin = "<html><head><meta charset='iso-8859-1'></head><body><p>Käse für alle Gäste</p></body></html>"
    assert "Käse für alle" in read(write(tmp_path / "b.html", latin.encode("latin-1")))[0][0]


@pytest.mark.parametrize("page", ["<html></html>", "<", "\x00", "<p>" * 50_000, "<!DOCTYPE x [<!ENTITY a 'b'>]>&a;"])
def test_a_hostile_page_is_told_or_read(tmp_path: Path, page: str) -> None:
    path = write(tmp_path / "a.html", page)
    try:
        read(path)
    except InvalidInput as error:
        assert "a.html" in error.message


def test_a_book_is_read_in_its_order(tmp_path: Path) -> None:
    pages = {
        "one.xhtml": "<html><head><title>no</title></head><body><h1>One</h1><p>First&nbsp;words,\n <b>bold</b>.</p>"
        "<p>A<br/>B</p></body></html>",
        "two.xhtml": "<html xmlns='http://www.w3.org/1999/xhtml'><body><p>Second</p><pre>a\n  b</pre></body></html>",
    }
    ((text, draft),) = read(write(tmp_path / "a.epub", make_epub(pages)))
    assert text == "One\n\nFirst words, bold.\n\nA\nB\n\nSecond\n\na\nb\n\n"
    assert (draft.licence, draft.language) == ("CC BY 4.0", "en")


def test_a_bomb_in_a_book_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(epub, "LARGEST", 1 << 20)
    bomb = make_epub({"one.xhtml": "<p>" + "a" * (2 << 20) + "</p>"})
    assert "bomb" in refuse(write(tmp_path / "a.epub", bomb)).message
    several = make_epub({f"{n}.xhtml": f"<p>{n}" + "a" * (300 << 10) + "</p>" for n in range(5)})
    assert "bomb" in refuse(write(tmp_path / "b.epub", several)).message


def test_entities_of_a_book_are_not_resolved(tmp_path: Path) -> None:
    secret = write(tmp_path / "secret", "SECRET")
    laughs = "<!ENTITY a0 'ha'>" + "".join(f"<!ENTITY a{n} '{f'&a{n - 1};' * 10}'>" for n in range(1, 9))
    external = f"<!ENTITY x SYSTEM 'file://{secret}'>"
    kind = f"<!DOCTYPE html [{laughs}{external}]>"
    outside = f"<!DOCTYPE package [{external}]>"
    page = f"<?xml version='1.0'?>{kind}<html><body><p>Text &a8; &x; end</p></body></html>"
    package = PACKAGE.replace('<?xml version="1.0"?>', f'<?xml version="1.0"?>{outside}')
    package = package.replace("CC BY 4.0", "&x;") % (
        '<item id="i" href="one.xhtml" media-type="application/xhtml+xml"/>',
        '<itemref idref="i"/>',
    )
    ((text, draft),) = read(write(tmp_path / "a.epub", make_epub({"one.xhtml": page}, {"OEBPS/book.opf": package})))
    assert "SECRET" not in text + draft.licence
    assert len(text) < 500
    assert "end" in text
    laughing = package.replace(outside, kind.replace("html", "package")).replace("&x;", "&a8;")
    refuse(write(tmp_path / "b.epub", make_epub({"one.xhtml": page}, {"OEBPS/book.opf": laughing})))


def test_books_that_lead_elsewhere_or_are_locked_are_refused(tmp_path: Path) -> None:
    secret = write(tmp_path / "secret.xhtml", "<p>SECRET</p>")
    outside = PACKAGE % (
        f'<item id="i" href="../../..{secret}" media-type="application/xhtml+xml"/>',
        '<itemref idref="i"/>',
    )
    refuse(write(tmp_path / "a.epub", make_epub({"one.xhtml": "x"}, {"OEBPS/book.opf": outside})))
    locked = "<encryption><EncryptedData><CipherReference URI='OEBPS/one.xhtml'/></EncryptedData></encryption>"
    told = refuse(write(tmp_path / "b.epub", make_epub({"one.xhtml": "x"}, {"META-INF/encryption.xml": locked})))
    assert "DRM" in told.message
    with zipfile.ZipFile(tmp_path / "c.epub", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("META-INF/container.xml", CONTAINER)
    assert "method" in refuse(tmp_path / "c.epub").message
    for number, data in enumerate([b"PK\x05\x06" + bytes(18), b"no zip", make_epub({"a": "x"})[:-60]]):
        refuse(write(tmp_path / f"{number}.epub", data))


def test_a_deeply_nested_page_is_read(tmp_path: Path) -> None:
    deep = "<div>" * 5000 + "deep" + "</div>" * 5000
    found = read(write(tmp_path / "a.epub", make_epub({"a.xhtml": f"<p>shallow</p>{deep}"})))
    assert "shallow" in found[0][0]


def test_the_pages_of_a_pdf(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pdf", make_pdf("Hello from page one", "And from page two"))
    assert read(path)[0][0] == "Hello from page one\n\nAnd from page two\n\n"
    assert "scan" in refuse(write(tmp_path / "b.pdf", make_pdf(""))).message
    refuse(write(tmp_path / "c.pdf", b"%PDF-1.4\nnothing"))
    refuse(write(tmp_path / "d.pdf", os.urandom(1000)))
    refuse(write(tmp_path / "e.pdf", path.read_bytes()[:300]))


def test_a_folder_with_one_bad_file_is_built_without_it(make: Make, books: Path) -> None:
    write(books / "bad.txt", bytes(100))
    write(books / "bad.pdf", b"%PDF")
    made = make(books)
    read_ = made.manifest.counts["read"]
    assert read_["files"] == 12
    assert sum(read_["passed_over"].values()) == 2
