"""What is learnt from a corpus: lossless, the same again to the byte, and loadable by all who must load it."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chatbot.admin.corpus.folder import CorpusFolder
from chatbot.admin.tokenizing.building import SMALLEST, SPECIAL, UNKNOWN, Kind, collect_characters, learn_bpe
from chatbot.admin.tokenizing.library import TokenizerLibrary
from chatbot.admin.tokenizing.training import train
from chatbot.errors import DatasetDamaged, InvalidInput, ModelDamaged, NotFound
from chatbot.models.template import ChatMessage, ChatTemplate
from tests.admin.tokenizing.samples import ENGLISH, TRAINING, make_corpus

if TYPE_CHECKING:
    from tokenizers import Tokenizer

ODD = "\u3000\u00a0 \t\r\n\r \u200b\u2028 é e\u0301 👨\u200d👩\u200d👧 中文 1234 ｆｕｌｌ <|im_end|>\x00 "


@pytest.fixture
def corpus(tmp_path: Path) -> CorpusFolder:
    return make_corpus(tmp_path / "corpus")


@pytest.fixture
def library(tmp_path: Path) -> TokenizerLibrary:
    return TokenizerLibrary(tmp_path / "tokenizers")


@functools.cache
def learn() -> Tokenizer:
    tokenizer = learn_bpe(TRAINING, 384)
    tokenizer.encode_special_tokens = True
    return tokenizer


@functools.cache
def collect() -> Tokenizer:
    tokenizer = collect_characters(TRAINING)
    tokenizer.encode_special_tokens = True
    return tokenizer


@given(text=st.text(st.characters(codec="utf-8"), max_size=60))
@example(text=ODD)
@example(text=" leading")
@example(text="<|endoftext|>")
@settings(deadline=None, max_examples=200)
def test_every_text_comes_back_from_bytes(text: str) -> None:
    ids = learn().encode(text).ids
    assert learn().decode(ids, skip_special_tokens=False) == text
    assert not ids or min(ids) >= len(SPECIAL)  # what spells a special token is none


@given(text=st.text(st.sampled_from(sorted(set("".join(TRAINING)))), max_size=60))
@example(text="  a\n\n    b ")
@settings(deadline=None, max_examples=200)
def test_every_text_of_known_characters_comes_back(text: str) -> None:
    ids = collect().encode(text).ids
    assert len(ids) == len(text)
    assert collect().decode(ids, skip_special_tokens=False) == text


def test_a_character_never_seen_is_one_unknown_token() -> None:
    ids = collect().encode("aéb🎉🎉").ids
    assert [collect().id_to_token(number) for number in ids] == ["a", UNKNOWN, "b", UNKNOWN, UNKNOWN]


def test_characters_follow_the_special_tokens_by_code_point() -> None:
    tokenizer = collect()
    tokens = [tokenizer.id_to_token(number) for number in range(tokenizer.get_vocab_size())]
    assert tokens == [*SPECIAL, UNKNOWN, *sorted(set("".join(TRAINING)))]


def test_special_tokens_come_first_and_digits_stay_apart() -> None:
    tokenizer = learn()
    assert [tokenizer.token_to_id(token) for token in SPECIAL] == [0, 1, 2]
    tokens = [token for token in tokenizer.get_vocab() if token not in SPECIAL]
    assert not [token for token in tokens if len(token) > 1 and set(token) & set("0123456789")]
    assert len(tokenizer.encode("1859").ids) == 4
    # Nothing is put before a text.
    assert tokenizer.encode("the").tokens == ["the"]
    assert tokenizer.encode(" the").tokens == ["Ġthe"]


def test_a_pair_seen_once_is_not_joined() -> None:
    tokenizer = learn_bpe(["qzx", "abab abab"], 1000)
    assert tokenizer.get_vocab_size() < 300
    assert "qz" not in tokenizer.get_vocab()


def test_any_number_of_threads_learns_the_same_to_the_byte(tmp_path: Path) -> None:
    script = (
        "import hashlib, random\n"
        "from chatbot.admin.tokenizing.building import learn_bpe\n"
        "dice = random.Random(1)\n"
        "words = [''.join(dice.choices('abcdefghij你好世界', k=dice.randint(2, 8))) for _ in range(2000)]\n"
        "texts = [' '.join(dice.choices(words, k=50)) for _ in range(400)]\n"
        "print(hashlib.sha256(learn_bpe(texts, 1000).to_str(pretty=True).encode()).hexdigest())\n"
    )
    found = set()
    for threads in ("1", "2", "5"):
        environment = os.environ | {"RAYON_NUM_THREADS": threads, "PYTHONHASHSEED": threads}
        done = subprocess.run(
            [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True, timeout=120
        )
        found.add(done.stdout)
    assert len(found) == 1


def test_a_corpus_gives_the_same_file_again(corpus: CorpusFolder, library: TokenizerLibrary) -> None:
    made = [train(corpus, library, name, vocabulary=320) for name in ("one", "two")]
    assert made[0].sha256 == made[1].sha256
    assert (made[0].path / "tokenizer.json").read_bytes() == (made[1].path / "tokenizer.json").read_bytes()
    assert made[0].vocabulary == 320
    assert library.list() == made


def test_the_folder_is_private_and_loads_everywhere(corpus: CorpusFolder, library: TokenizerLibrary) -> None:
    from transformers import AutoTokenizer

    kinds: tuple[Kind, ...] = ("bpe", "characters")
    for kind in kinds:
        folder = train(corpus, library, kind, vocabulary=320, kind=kind)
        assert {path.stat().st_mode & 0o777 for path in folder.path.iterdir()} == {0o600}
        loaded = AutoTokenizer.from_pretrained(folder.path)
        text = "  It was\n\n今天 the best "
        assert loaded(text)["input_ids"] == folder.load().encode(text).ids
        assert loaded.decode(loaded(text)["input_ids"]) == text
        assert (loaded.eos_token_id, loaded.bos_token_id, loaded.pad_token_id) == (0, 0, 0)
        assert len(loaded) == folder.vocabulary
        template = ChatTemplate.load(folder.path)
        assert template.stop_ids == {0, 2}
        ids = template.encode([ChatMessage("user", "It was the best")])
        assert ids[0] == 1
        assert ids.count(2) == 1
        turns = [{"role": "user", "content": "It was the best"}]
        assert loaded.apply_chat_template(turns, add_generation_prompt=True, return_dict=False) == ids


def test_a_vocabulary_larger_than_the_corpus_supports_tells_its_real_size(
    corpus: CorpusFolder, library: TokenizerLibrary
) -> None:
    folder = train(corpus, library, "large", vocabulary=50_000)
    assert folder.manifest.asked == 50_000
    assert SMALLEST < folder.vocabulary < 1000
    assert folder.vocabulary == folder.load().get_vocab_size()


@pytest.mark.parametrize("size", [0, SMALLEST - 1, 2_000_000])
def test_a_size_that_cannot_be_is_refused_before_anything_is_read(
    corpus: CorpusFolder, library: TokenizerLibrary, size: int
) -> None:
    with pytest.raises(InvalidInput, match="259 at least"):
        train(corpus, library, "tiny", vocabulary=size)
    assert library.list() == []


def test_the_smallest_vocabulary_is_the_bytes(corpus: CorpusFolder, library: TokenizerLibrary) -> None:
    folder = train(corpus, library, "bytes", vocabulary=SMALLEST)
    assert folder.vocabulary == SMALLEST
    assert folder.manifest.report.total.bytes_per_token == 1.0


def test_a_name_is_taken_once_and_must_be_one(corpus: CorpusFolder, library: TokenizerLibrary) -> None:
    train(corpus, library, "novels", vocabulary=300)
    with pytest.raises(InvalidInput, match="already"):
        train(corpus, library, "novels", vocabulary=300)
    for name in ("../novels", ".hidden", "a/b", ""):
        with pytest.raises(InvalidInput, match="name of a tokenizer"):
            train(corpus, library, name, vocabulary=300)


def test_a_corpus_without_text_is_refused(tmp_path: Path, library: TokenizerLibrary) -> None:
    kinds: tuple[Kind, ...] = ("bpe", "characters")
    for kind in kinds:
        with pytest.raises(InvalidInput, match="no text"):
            train(make_corpus(tmp_path / kind, ["", ""]), library, "none", kind=kind)


def test_progress_is_told_where_it_is_asked_for(corpus: CorpusFolder, library: TokenizerLibrary) -> None:
    heard: list[tuple[str, int, int]] = []
    threads = set()

    def hear(step: str, done: int, total: int) -> None:
        heard.append((step, done, total))
        threads.add(threading.current_thread())

    train(corpus, library, "novels", vocabulary=300, on_progress=hear)
    assert ("reading", len(TRAINING), len(TRAINING)) in heard
    assert heard[-1] == ("measuring", 3, 3)
    assert threads == {threading.current_thread()}


def test_a_damaged_corpus_is_named(tmp_path: Path, library: TokenizerLibrary) -> None:
    corpus = make_corpus(tmp_path / "corpus", ENGLISH * 2000)
    path = corpus.path / "train.jsonl.zst"
    path.write_bytes(path.read_bytes()[:-20])
    kinds: tuple[Kind, ...] = ("bpe", "characters")
    for kind in kinds:
        with pytest.raises(DatasetDamaged, match=r"train\.jsonl\.zst"):
            train(corpus, library, "novels", kind=kind)
    assert library.list() == []


def test_an_interruption_leaves_nothing_and_stops_the_reading(tmp_path: Path, library: TokenizerLibrary) -> None:
    corpus = make_corpus(tmp_path / "long", ENGLISH * 3_000)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(corpus, library, "novels", vocabulary=8192, on_progress=stop)
    assert library.list() == []
    assert not library.folder.exists() or list(library.folder.iterdir()) == []


def test_what_is_damaged_is_named_and_can_be_deleted(corpus: CorpusFolder, library: TokenizerLibrary) -> None:
    folder = train(corpus, library, "novels", vocabulary=300)
    config = folder.path / "tokenizer_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"bos_token": "x"}))
    with pytest.raises(ModelDamaged, match=r"tokenizer_config\.json differs"):
        library.find("novels")
    whole, damaged = library.scan()
    assert (whole, list(damaged)) == ([], ["novels"])
    (folder.path / "manifest.json").write_text("{}")
    with pytest.raises(ModelDamaged, match="damaged"):
        library.find("novels")
    library.delete("novels")
    assert list(library.folder.iterdir()) == []
    with pytest.raises(NotFound):
        library.delete("novels")
    with pytest.raises(NotFound):
        library.find("../novels")
