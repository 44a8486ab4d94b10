"""A corpus as tokens: what the shards hold, and that they can be made again at any time."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chatbot.admin.corpus import tokens as tokens_module
from chatbot.admin.corpus.folder import SPLITS, CorpusFolder
from chatbot.admin.corpus.tokens import tokenize
from chatbot.errors import InvalidInput, LearningError
from tests.admin.corpus.conftest import Make
from tests.admin.corpus.samples import make_text, make_tokenizer, write_lines


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    return make_tokenizer(tmp_path / "tokenizer.json")


def encode(corpus: CorpusFolder, tokenizer: Path, split: str) -> list[int]:
    """One document after the other, without any of what is there to be fast."""
    from tokenizers import Tokenizer

    loaded = Tokenizer.from_file(str(tokenizer))
    loaded.encode_special_tokens = True
    ids: list[int] = []
    for document in corpus.read(split):  # type: ignore[arg-type]
        ids += ([] if document.continues else [0]) + loaded.encode(document.text, add_special_tokens=False).ids
    return ids


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(data=st.data())
def test_windows_across_shards_are_the_naive_tokens(
    make: Make, books: Path, tokenizer: Path, monkeypatch: pytest.MonkeyPatch, data: st.DataObject
) -> None:
    monkeypatch.setattr(tokens_module, "SHARD", 1000)
    monkeypatch.setattr(tokens_module, "_BATCH", 4000)
    corpus = make(books, holdout=0.3, unit="document")
    made = tokenize(corpus, tokenizer)
    split = data.draw(st.sampled_from(SPLITS))
    expected = encode(corpus, tokenizer, split)
    stream = made.tokens(split)
    assert len(stream) == len(expected)
    assert len(list(made.path.glob(f"{split}-*"))) == -(-len(expected) // 1000) > 1
    start = data.draw(st.integers(0, len(expected)))
    length = data.draw(st.integers(0, len(expected) - start))
    found = stream.window(start, length)
    assert found.dtype == np.int64
    assert found.tolist() == expected[start : start + length]


def test_a_window_has_its_limits(make: Make, books: Path, tokenizer: Path) -> None:
    made = tokenize(make(books, holdout=0.0), tokenizer)
    stream = made.tokens("train")
    assert len(made.tokens("validation")) == 0
    assert made.tokens("validation").window(0, 0).tolist() == []
    for start, length in ((-1, 2), (0, len(stream) + 1), (len(stream), 1), (0, -1)):
        with pytest.raises(IndexError):
            stream.window(start, length)


@pytest.mark.parametrize("characters", [False, True])
def test_a_text_that_spells_a_special_token_does_not_become_one(make: Make, tmp_path: Path, characters: bool) -> None:
    tokenizer = make_tokenizer(tmp_path / "tokenizer.json", characters=characters)
    path = write_lines(tmp_path / "a.jsonl", [{"text": "ba<|endoftext|>de<|im_start|>"}, {"text": "fi"}])
    made = tokenize(make(path, holdout=0.0), tokenizer)
    ids = made.tokens("train").window(0, len(made.tokens("train"))).tolist()
    assert [place for place, one in enumerate(ids) if one in {0, 1, 2}] == [
        0,
        len(ids) - (3 if characters else len(ids) - ids.index(0, 1)),
    ]
    assert max(ids) < made.vocabulary


def test_parts_of_one_document_are_not_parted(
    make: Make, tmp_path: Path, tokenizer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatbot.admin.corpus.building.PART", 2000)
    path = tmp_path / "a.txt"
    path.write_text(make_text(1, 20_000))
    made = tokenize(make(path, holdout=0.0, unit="document"), tokenizer)
    stream = made.tokens("train")
    assert (stream.window(0, len(stream)) == 0).sum() == 1
    assert made.text_bytes("train") == path.stat().st_size


def test_numbers_take_as_much_room_as_the_vocabulary_needs(
    make: Make, books: Path, tokenizer: Path, tmp_path: Path
) -> None:
    corpus = make(books)
    assert next(tokenize(corpus, tokenizer).path.glob("train-*")).stat().st_size == 2 * len(
        tokenize(corpus, tokenizer).tokens("train")
    )
    content = json.loads(tokenizer.read_text())
    content["added_tokens"].append(content["added_tokens"][0] | {"id": 65_536, "content": "<|far|>"})
    # Ids with a gap: what counts is the largest one.
    content["model"]["vocab"]["<|far|>"] = 65_536
    large = tmp_path / "large.json"
    large.write_text(json.dumps(content))
    made = tokenize(corpus, large)
    assert made.vocabulary == 65_537
    assert next(made.path.glob("train-*")).stat().st_size == 4 * len(made.tokens("train"))


def test_tokens_are_found_again_and_made_again(make: Make, books: Path, tokenizer: Path) -> None:
    corpus = make(books)
    said: list[tuple[str, int, int]] = []
    made = tokenize(corpus, tokenizer, lambda *told: said.append(told))
    assert said[-1][1] == said[-1][2] > 0
    stamp = (made.path / "index.json").stat().st_mtime_ns
    assert tokenize(corpus, tokenizer).path == made.path
    assert (made.path / "index.json").stat().st_mtime_ns == stamp
    shard = next(made.path.glob("train-*"))
    content = shard.read_bytes()
    shard.write_bytes(content[:-2])  # cut off, as a full disk would
    begun = made.path.parent / f".{made.path.name}.x"
    begun.mkdir()
    assert tokenize(corpus, tokenizer).path == made.path
    assert shard.read_bytes() == content
    assert not begun.exists()


def test_a_flipped_bit_is_named_and_made_good(make: Make, books: Path, tokenizer: Path) -> None:
    corpus = make(books)
    shard = next(tokenize(corpus, tokenizer).path.glob("train-*"))
    content = shard.read_bytes()
    shard.write_bytes(content[:40] + bytes([content[40] ^ 1]) + content[41:])
    said: list[str] = []
    tokenize(corpus, tokenizer, lambda step, *_: said.append(step))
    assert set(said) == {f"tokenizing again, since {shard.name} has changed"}
    assert shard.read_bytes() == content


def test_characters_that_the_vocabulary_lacks_are_counted(make: Make, tmp_path: Path, tokenizer: Path) -> None:
    from chatbot.admin.tokenizing.building import collect_characters

    path = write_lines(tmp_path / "a.jsonl", [{"text": "ab天地c"}, {"text": "ca"}])
    characters = tmp_path / "characters.json"
    collect_characters(["abc"]).save(str(characters))
    corpus = make(path, holdout=0.0)
    made = tokenize(corpus, characters)
    assert (made.unknown("train"), made.unknown("validation")) == (2, 0)
    assert made.tokens("train").window(0, 9).tolist() == [0, 4, 5, 3, 3, 6, 0, 6, 4]
    assert tokenize(corpus, tokenizer).unknown("train") == 0


def test_what_is_no_tokenizer_is_told(make: Make, books: Path, tokenizer: Path, tmp_path: Path) -> None:
    corpus = make(books)
    broken = tmp_path / "broken.json"
    broken.write_text("{}")
    with pytest.raises(InvalidInput, match="is no tokenizer"):
        tokenize(corpus, broken)
    with pytest.raises(InvalidInput, match="cannot be read"):
        tokenize(corpus, tmp_path / "nothing.json")
    broken.write_text(tokenizer.read_text().replace("<|endoftext|>", "<|other|>"))
    with pytest.raises(InvalidInput, match="which parts documents"):
        tokenize(corpus, broken)


def test_a_full_disk_is_told_and_leaves_nothing(
    make: Make, books: Path, tokenizer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = make(books)

    def fill(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tokens_module._ShardWriter, "write", fill)
    with pytest.raises(LearningError, match="No space left"):
        tokenize(corpus, tokenizer)
    assert not list((corpus.path / "tokens").iterdir())
