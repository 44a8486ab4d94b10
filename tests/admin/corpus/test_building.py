"""What a build holds, drops, counts and leaves."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from chatbot.admin.corpus import folder as folder_module
from chatbot.admin.corpus.building import build
from chatbot.admin.corpus.folder import SPLITS, CorpusFolder, Document
from chatbot.admin.corpus.request import CorpusRequest
from chatbot.admin.corpus.versions import delete_version, find_corpus, open_corpus
from chatbot.config import Home
from chatbot.errors import DatasetDamaged, InvalidInput, LearningError, NotFound
from chatbot.store.database import Store
from tests.admin.corpus.conftest import Make
from tests.admin.corpus.samples import make_text, write_lines
from tests.admin.datasets.samples import talk

_NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def read(folder: CorpusFolder) -> list[Document]:
    return [document for split in SPLITS for document in folder.read(split)]


def test_a_folder_becomes_documents_with_their_sources(make: Make, books: Path) -> None:
    made = make(books, licence="CC0-1.0", holdout=0.2, unit="document")
    assert made.title == "books/1"
    documents = {one.source: one for one in read(made)}
    assert sorted(documents) == sorted(str(path.relative_to(books)) for path in books.rglob("*.*"))
    assert documents["more/01.md"].text == make_text(1)
    assert {one.licence for one in documents.values()} == {"CC0-1.0"}
    counts = made.manifest.counts
    assert counts["read"]["files"] == counts["documents"] == 12
    assert counts["characters"]["train"] == sum(len(one.text) for one in made.read("train"))
    assert made.manifest.files["train"].text_bytes == sum(len(one.text.encode()) for one in made.read("train"))
    assert counts["rows"]["validation"] >= 1
    made.verify()


def test_the_same_input_gives_the_same_bytes_and_no_new_version(
    make: Make, books: Path, store: Store, home: Home, tmp_path: Path
) -> None:
    first, again = make(books), make(books)
    assert again.path == first.path
    assert len(store.datasets.versions("books")) == 1
    moved = books.rename(tmp_path / "elsewhere")
    assert make(moved).path == first.path
    other = make(moved, name="other")
    assert other.manifest.sha256 == first.manifest.sha256
    for split in SPLITS:
        name = f"{split}.jsonl.zst"
        assert (other.path / name).read_bytes() == (first.path / name).read_bytes()
    (moved / "new.txt").write_text(make_text(99))
    assert make(moved).manifest.number == 2
    assert not [path for path in (home.corpora / "books").glob(".*") if path.is_dir()]


def test_what_is_held_out_stays_held_out_when_the_corpus_grows(make: Make, tmp_path: Path) -> None:
    small = write_lines(tmp_path / "a.jsonl", [{"text": make_text(n, 200)} for n in range(60)])
    large = write_lines(tmp_path / "b.jsonl", [{"text": make_text(n, 200)} for n in range(199, -1, -1)])
    held = {one.text for one in make(small, holdout=0.2).read("validation")}
    held_later = {one.text for one in make(large, name="large", holdout=0.2).read("validation")}
    learnt_later = {one.text for one in make(large, name="large", holdout=0.2).read("train")}
    assert held
    assert held <= held_later
    assert not held_later & learnt_later
    assert 0.1 < len(held_later) / 200 < 0.3


def test_long_documents_are_cut_and_stay_in_one_split(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatbot.admin.corpus.building.PART", 3000)
    texts = [make_text(n, 20_000) for n in range(8)]
    for number, text in enumerate(texts):
        (tmp_path / f"{number}.txt").write_text(text)
    made = make(*(tmp_path / f"{n}.txt" for n in range(8)), unit="document", holdout=0.3)
    places: dict[str, set[str]] = {}
    joined: dict[str, str] = {}
    for split in SPLITS:
        for one in made.read(split):
            source, _, place = one.source.partition("#")
            assert one.continues == (place != "1")
            assert len(one.text) <= 3750
            places.setdefault(source, set()).add(split)
            joined[source] = joined.get(source, "") + one.text
    assert all(len(found) == 1 for found in places.values())
    assert [joined[f"{n}.txt"] for n in range(8)] == texts
    assert {split for found in places.values() for split in found} == set(SPLITS)


def test_few_documents_are_held_out_by_section(make: Make, tmp_path: Path) -> None:
    book = tmp_path / "book.txt"
    book.write_text(make_text(1, 400_000))
    made = make(book, holdout=0.1)
    counts = made.manifest.counts
    assert counts["unit"] == made.manifest.recipe["unit"] == "section"
    share = counts["characters"]["validation"] / sum(counts["characters"].values())
    assert 0.02 < share < 0.25
    rows = list(made.read("train"))
    # Where a section is missing, the next one begins a document.
    numbers = [int(one.source.partition("#")[2]) for one in rows]
    assert [one.continues for one in rows] == [
        place > 0 and numbers[place - 1] == number - 1 for place, number in enumerate(numbers)
    ]


def test_one_document_at_least_is_held_out_and_one_learnt(make: Make, tmp_path: Path) -> None:
    rows = [{"text": f"I love you {word}."} for word in _NUMBERS]
    lesson = write_lines(tmp_path / "lesson.jsonl", rows)
    counts = make(lesson).manifest.counts
    assert counts["rows"] == {"train": 9, "validation": 1}
    assert counts["characters"]["train"] == sum(len(one.text) for one in make(lesson).read("train"))
    assert make(lesson, name="most", holdout=0.999).manifest.counts["rows"] == {"train": 1, "validation": 9}
    assert make(lesson, name="none", holdout=0.0).manifest.counts["rows"] == {"train": 10, "validation": 0}
    single = write_lines(tmp_path / "single.jsonl", rows[:1])
    assert make(single, name="single").manifest.counts["rows"]["train"] == 1


def test_duplicates_are_dropped_across_files_and_kept_if_asked(make: Make, tmp_path: Path) -> None:
    text = make_text(1, 4000)
    words = text.split(" ")
    words[100] = "changed"
    for name, content in {
        "a.txt": text,
        "b.md": text + "\r\n\r\n",
        "c.txt": " ".join(words),
        "d.txt": make_text(2),
    }.items():
        (tmp_path / name).write_bytes(content.encode())
    paths = sorted(tmp_path.glob("*.*"))
    made = make(*paths, unit="document")
    dropped = made.manifest.counts["dropped"]
    assert {name: one["parts"] for name, one in dropped.items()} == {"duplicate: exact": 1, "duplicate: near": 1}
    assert sorted(one.source for one in read(made)) == ["a.txt", "d.txt"]
    assert make(*paths, name="all", keep_duplicates=True).manifest.counts["documents"] == 4
    assert make(*paths, name="exact", near=1.1, unit="document").manifest.counts["documents"] == 3
    same = write_lines(tmp_path / "same.jsonl", [{"text": "I love you."}] * 5)
    assert make(same, name="same", keep_duplicates=True).manifest.counts["rows"] == {"train": 5, "validation": 0}


def test_raw_text_split_at_a_place_is_the_text_itself(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatbot.admin.corpus.building.PART", 5000)
    text = "  \r\n\n\n\n" + make_text(3, 30_000).replace(". ", ".\t \r\n") + "e\u0301\x07…\n\n\n\n "
    path = tmp_path / "play.txt"
    path.write_bytes(text.encode())
    made = make(path, raw=True, split_at=0.9)
    place = int(len(text) * 0.9)
    train, validation = list(made.read("train")), list(made.read("validation"))
    assert "".join(one.text for one in train) == text[:place]
    assert "".join(one.text for one in validation) == text[place:]
    assert len(train) > 3
    assert not train[0].continues
    assert all(one.continues for one in train[1:])
    whole = make(path, name="whole", raw=True, holdout=0.0)
    assert "".join(one.text for one in whole.read("train")) == text


def test_languages_and_short_texts_are_dropped_and_counted(make: Make, tmp_path: Path) -> None:
    english = "The old man walked slowly along the river and thought about his childhood. " * 3
    german = "Der alte Mann ging langsam am Fluss entlang und dachte an seine Kindheit zurück. " * 3
    chinese = "老人沿着河边慢慢地走，想起了自己的童年。那时候他每天都和朋友们一起在河里游泳。" * 3
    path = write_lines(tmp_path / "a.jsonl", [{"text": one} for one in (english, german, chinese, "tiny")])
    made = make(path, languages=("en", "zh"), min_characters=10, holdout=0.0)
    assert [one.text[:3] for one in made.read("train")] == ["The", "老人沿"]
    assert [one.language for one in made.read("train")] == ["en", "zh"]
    assert {name: one["parts"] for name, one in made.manifest.counts["dropped"].items()} == {
        "language": 1,
        "too short": 1,
    }


def test_licences_come_from_the_command_the_row_the_file_beside_or_nowhere(make: Make, tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    (folder / "open").mkdir(parents=True)
    (folder / "open" / "LICENSE").write_text("MIT License\n\nPermission is hereby granted, free of charge, to any")
    (folder / "open" / "a.txt").write_text(make_text(1))
    (folder / "b.txt").write_text(make_text(2))
    write_lines(
        folder / "c.jsonl", [{"text": make_text(3), "license": "CC-BY-4.0", "source": "wiki", "language": "xx"}]
    )
    made = make(folder, holdout=0.0)
    assert made.manifest.counts["licences"] == {"unknown": 1, "CC-BY-4.0": 1, "MIT": 1}
    assert [one.language for one in made.read("train") if one.source == "wiki"] == ["xx"]
    assert set(made.manifest.counts["sources"]) == {"b.txt", "open/a.txt", "wiki"}
    assert make(folder, name="own", licence="mine").manifest.counts["licences"] == {"mine": 3}


def test_approved_conversations_are_taken_redacted_and_traced(store: Store, home: Home) -> None:
    said = talk(
        store,
        "Write to ada@example.org about the harvest?",
        "Gladly, I write to her.",
        "And a rude one?",
        "REJECTED words",
        "Thank you for the help",
        "You are welcome.",
        decisions="+-+",
    )
    talk(store, "Nobody looked at this?", "UNSEEN words", decisions=" ")
    made = build(store, home, CorpusRequest("talks", from_logs=True, holdout=0.0))
    (document,) = made.read("train")
    assert document.text == (
        "User: Write to [e-mail] about the harvest?\n\nAssistant: Gladly, I write to her.\n\n"
        "User: Thank you for the help\n\nAssistant: You are welcome."
    )
    assert (document.source, document.licence, document.conversation) == ("chat", "private", said[0].conversation_id)
    assert document.messages == tuple(said[n].id for n in (0, 1, 4, 5))
    version, _ = open_corpus(store, home, "talks")
    (item,) = store.datasets.items(version.id)
    assert (item.conversation, item.messages) == (document.conversation, document.messages)
    assert made.manifest.counts["left_out"] == {"nobody has approved it yet": 1, "rejected": 1}
    assert made.manifest.counts["redacted"] == {"email": 1}
    plain = build(store, home, CorpusRequest("talks", from_logs=True, redact=False, holdout=0.0))
    assert "ada@example.org" in next(iter(plain.read("train"))).text


def test_a_conversation_is_where_a_dataset_has_it(store: Store, home: Home) -> None:
    from chatbot.store.datasets import DatasetItem

    ids = [talk(store, make_text(n, 40), make_text(n + 50, 100), decisions="+")[0].conversation_id for n in range(4)]
    items = [DatasetItem("test" if n % 2 else "train", one, str(n), one) for n, one in enumerate(ids)]
    about = {"sha256": "x", "recipe": {}, "template_sha": "", "tokenizer_sha": "", "counts": {}}
    store.datasets.add_version("earlier", "sft", 1, items=items, **about)  # type: ignore[arg-type]
    made = build(store, home, CorpusRequest("talks", from_logs=True))
    assert {one.conversation for one in made.read("validation")} == set(ids[1::2])
    assert {one.conversation for one in made.read("train")} == set(ids[::2])


def test_what_a_dataset_has_held_out_is_not_moved_to_where_nothing_is(store: Store, home: Home) -> None:
    from chatbot.store.datasets import DatasetItem

    ids = [talk(store, make_text(n, 40), make_text(n + 50, 100), decisions="+")[0].conversation_id for n in range(2)]
    about = {"sha256": "x", "recipe": {}, "template_sha": "", "tokenizer_sha": "", "counts": {}}
    items = [DatasetItem("test", one, str(n), one) for n, one in enumerate(ids)]
    store.datasets.add_version("earlier", "sft", 1, items=items, **about)  # type: ignore[arg-type]
    made = build(store, home, CorpusRequest("talks", from_logs=True, holdout=0.2))
    assert {split: made.manifest.files[split].rows for split in SPLITS} == {"train": 0, "validation": 2}
    # What no dataset knows may be moved, though the rest of its split may not.
    free = talk(store, make_text(9, 40), make_text(59, 100), decisions="+")[0].conversation_id
    made = build(store, home, CorpusRequest("talks", from_logs=True, holdout=0.999))
    assert {one.conversation for one in made.read("train")} == {free}
    assert {one.conversation for one in made.read("validation")} == set(ids)


def test_versions_are_found_checked_and_deleted(make: Make, books: Path, store: Store, home: Home) -> None:
    made = make(books)
    assert open_corpus(store, home, "books/1")[1].path == made.path
    for title in ("nothing", "books/2"):
        with pytest.raises(NotFound, match="corpus"):
            open_corpus(store, home, title)
    file = made.path / "train.jsonl.zst"
    whole = file.read_bytes()
    file.write_bytes(whole[:-20])
    with pytest.raises(DatasetDamaged):
        open_corpus(store, home, "books")
    with pytest.raises(DatasetDamaged, match="line"):
        list(made.read("train"))
    file.write_bytes(bytes(len(whole)))
    with pytest.raises(DatasetDamaged):
        open_corpus(store, home, "books")[1].verify()
    assert make(books).manifest.number == 2  # the damaged one is not taken for the same
    delete_version(store, home, find_corpus(store, "books/1"))
    assert not made.path.exists()
    assert find_corpus(store, "books").number == 2


def test_a_dataset_has_its_own_name(make: Make, books: Path, store: Store) -> None:
    about = {"sha256": "x", "recipe": {}, "template_sha": "", "tokenizer_sha": "", "counts": {}, "items": []}
    store.datasets.add_version("books", "sft", 1, **about)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="name of a dataset"):
        make(books)


def test_nothing_left_is_an_error_that_says_why(make: Make, tmp_path: Path, home: Home) -> None:
    path = write_lines(tmp_path / "a.jsonl", [{"text": "1 2 3 4 " * 100}, {"text": "short"}])
    with pytest.raises(LearningError, match="quality: few letters 1, too short 1"):
        make(path, min_characters=10)
    assert not [one for one in (home.corpora / "books").iterdir() if one.name != ".lock"]
    empty = tmp_path / "folder"
    empty.mkdir()
    with pytest.raises(LearningError, match="there is no file"):
        make(empty)


def test_a_full_disk_is_told_and_leaves_nothing(
    make: Make, books: Path, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(folder_module.RowWriter, "_put", fill)
    with pytest.raises(LearningError, match="No space left") as told:
        make(books)
    assert "space" in told.value.hint
    assert not [one for one in (home.corpora / "books").iterdir() if one.name != ".lock"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_told(make: Make, books: Path, home: Home) -> None:
    home.corpora.mkdir(parents=True)
    home.corpora.chmod(0o500)
    with pytest.raises(LearningError, match="cannot be written"):
        make(books)


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "../x"},
        {"holdout": 1.0},
        {"holdout": -0.1},
        {"split_at": 0.9},
        {"raw": True, "languages": ("en",)},
        {"languages": ("English",)},
        {"encoding": "klingon"},
        {"encoding": "zlib"},
        {"near": 0.0},
        {"paths": ()},
    ],
)
def test_what_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        CorpusRequest(**{"name": "x", "paths": (Path("x"),)} | wrong)  # type: ignore[arg-type]


_KILLED = """
import sys
from pathlib import Path
from chatbot.admin.corpus.building import build
from chatbot.admin.corpus.request import CorpusRequest
from chatbot.config import find_home
from chatbot.store.database import Store

def say(step, done, total):
    if done > total / 3:
        print("half", flush=True)
        sys.stdin.read()

with Store.in_memory() as store:
    build(store, find_home(), CorpusRequest("books", (Path(sys.argv[1]),)), say)
"""


def test_a_killed_build_leaves_nothing_and_the_next_one_sweeps(make: Make, books: Path, home: Home) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", _KILLED, str(books)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "half\n"
    begun = [path for path in (home.corpora / "books").iterdir() if path.is_dir()]
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert begun
    assert all(path.name.startswith(".") for path in begun)
    assert make(books).title == "books/1"
    assert {path.name for path in (home.corpora / "books").iterdir()} == {"1", ".lock"}


def test_a_small_book_is_held_out_in_small_sections(make: Make, tmp_path: Path) -> None:
    book = tmp_path / "tale.txt"
    book.write_text(make_text(1, 9000))
    counts = make(book).manifest.counts
    assert counts["rows"]["validation"] == 1
    assert 0.03 < counts["characters"]["validation"] / 9000 < 0.15


def test_a_long_conversation_stays_whole_where_sections_are_held_out(store: Store, home: Home, tmp_path: Path) -> None:
    texts = [make_text(n, 1500) for n in range(12)]
    talk(store, *texts, decisions="++++++")
    talk(store, make_text(50, 100), make_text(51, 3000), decisions="+")
    made = build(store, home, CorpusRequest("talks", from_logs=True, holdout=0.5))
    assert made.manifest.counts["unit"] == "section"
    places = [(one.conversation, split) for split in SPLITS for one in made.read(split)]
    assert len(places) == len({conversation for conversation, _ in places}) == 2
