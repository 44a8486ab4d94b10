"""That a forgotten conversation leaves the corpora, too."""

from __future__ import annotations

from pathlib import Path

import pytest

from chatbot.admin.corpus.building import build
from chatbot.admin.corpus.folder import SPLITS, CorpusFolder
from chatbot.admin.corpus.forgetting import strike
from chatbot.admin.corpus.request import CorpusRequest
from chatbot.admin.corpus.tokens import tokenize
from chatbot.admin.corpus.versions import open_corpus
from chatbot.config import Home
from chatbot.errors import LearningError
from chatbot.store.database import Store
from tests.admin.corpus.samples import make_text, make_tokenizer
from tests.admin.datasets.samples import talk


@pytest.fixture
def ids(store: Store) -> list[str]:
    return [talk(store, make_text(n, 30), make_text(n + 50, 300), decisions="+")[0].conversation_id for n in range(6)]


@pytest.fixture
def corpus(store: Store, home: Home, ids: list[str], books: Path) -> CorpusFolder:
    return build(store, home, CorpusRequest("talks", (books,), from_logs=True, holdout=0.3))


def list_conversations(folder: CorpusFolder) -> set[str]:
    return {one.conversation for split in SPLITS for one in folder.read(split)} - {""}


def test_a_conversation_leaves_files_tokens_and_rows(
    store: Store, home: Home, ids: list[str], corpus: CorpusFolder, tmp_path: Path
) -> None:
    made = tokenize(corpus, make_tokenizer(tmp_path / "tokenizer.json"))
    assert list_conversations(corpus) == set(ids)
    assert sum(corpus.manifest.counts["items"].values()) == 6
    store.erasure.forget(ids[:1])
    (struck,) = strike(store, home, ids[:1])
    assert (struck.name, struck.number, struck.items) == ("talks", 1, 1)
    assert not made.path.exists()
    version, folder = open_corpus(store, home, "talks")
    folder.verify()
    assert list_conversations(folder) == set(ids[1:])
    assert version.counts["struck"] == folder.manifest.counts["struck"] == 1
    assert folder.manifest.counts["conversations"] == sum(version.counts["items"].values()) == 5
    assert sum(file.rows for file in folder.manifest.files.values()) == 17
    assert strike(store, home, ids[:1]) == []


def test_the_counts_are_of_what_stays(store: Store, home: Home, ids: list[str], corpus: CorpusFolder) -> None:
    before = corpus.manifest.counts
    size = {one.conversation: len(one.text) for split in SPLITS for one in corpus.read(split) if one.conversation}
    store.erasure.forget(ids[:2])
    strike(store, home, ids[:2])
    folder = open_corpus(store, home, "talks")[1]
    after = folder.manifest.counts
    gone = sum(size[one] for one in ids[:2])
    assert after["documents"] == before["documents"] - 2 == 16
    assert after["characters"] == {split: sum(len(one.text) for one in folder.read(split)) for split in SPLITS}
    assert sum(after["characters"].values()) == sum(before["characters"].values()) - gone
    chat = before["sources"]["chat"]
    assert after["sources"] == before["sources"] | {
        "chat": {"documents": chat["documents"] - 2, "characters": chat["characters"] - gone}
    }
    assert after["licences"] == before["licences"] | {"private": 4}
    assert sum(after["languages"].values()) == 16
    store.erasure.forget(ids[2:])
    strike(store, home, ids[2:])
    after = open_corpus(store, home, "talks")[1].manifest.counts
    assert "chat" not in after["sources"]
    assert "private" not in after["licences"]


def test_what_the_rows_no_longer_know_is_struck_the_next_time(
    store: Store, home: Home, ids: list[str], corpus: CorpusFolder
) -> None:
    store.erasure.forget(ids[:2])  # and killed before the files were written anew
    assert [one.items for one in strike(store, home)] == [2]
    assert list_conversations(open_corpus(store, home, "talks")[1]) == set(ids[2:])


def test_corpora_without_conversations_stay_as_they_are(store: Store, home: Home, books: Path) -> None:
    made = build(store, home, CorpusRequest("books", (books,)))
    stamp = (made.path / "manifest.json").stat().st_mtime_ns
    assert strike(store, home, ["x"]) == []
    assert (made.path / "manifest.json").stat().st_mtime_ns == stamp


def test_a_damaged_corpus_is_named(store: Store, home: Home, ids: list[str], corpus: CorpusFolder) -> None:
    (corpus.path / "train.jsonl.zst").write_bytes(b"x")
    with pytest.raises(LearningError, match="may still hold"):
        strike(store, home, ids[:1])


def test_a_conversation_forgotten_during_a_build_is_not_registered(
    store: Store, home: Home, ids: list[str], books: Path
) -> None:
    def forget(step: str, done: int, total: int) -> None:
        if step == "writing":
            store.erasure.forget(ids[:1])

    with pytest.raises(LearningError, match="forgotten while"):
        build(store, home, CorpusRequest("talks", from_logs=True), forget)
    assert not list((home.corpora / "talks").glob("[0-9]*"))
