"""Bytes per token by language, and tokens made legible."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer

from chatbot.admin.corpus.folder import Document
from chatbot.admin.tokenizing.building import collect_characters, learn_bpe
from chatbot.admin.tokenizing.library import TokenizerLibrary
from chatbot.admin.tokenizing.pieces import TokenReader, show_bytes
from chatbot.admin.tokenizing.report import Peer, measure
from chatbot.admin.tokenizing.training import train
from tests.admin.tokenizing.samples import HELD_OUT, TRAINING, make_corpus
from tests.models.tiny_models import train_tokenizer


def make_documents(*texts: str, language: str = "") -> list[Document]:
    return [Document(text, "test", language=language) for text in texts]


def test_the_figures_are_those_of_a_plain_count() -> None:
    ours, theirs = learn_bpe(TRAINING, 400), Tokenizer.from_str(train_tokenizer())
    parts = {"en": HELD_OUT[::2], "zh": HELD_OUT[1:2]}
    documents = [one for language, texts in parts.items() for one in make_documents(*texts, language=language)]
    report = measure(ours, documents, Peer("tiny", theirs))
    assert [one.language for one in report.languages] == ["en", "zh"]  # the one with the most bytes first
    for language, texts in parts.items():
        found = next(one for one in report.languages if one.language == language)
        size = sum(len(text.encode()) for text in texts)
        assert (found.documents, found.text_bytes) == (len(texts), size)
        assert found.bytes_per_token == size / sum(len(ours.encode(text).ids) for text in texts)
        assert found.base_bytes_per_token == size / sum(len(theirs.encode(text).ids) for text in texts)
    assert report.total.documents == 3
    assert report.total.text_bytes == sum(one.text_bytes for one in report.languages)
    assert (report.base, report.base_vocabulary) == ("tiny", theirs.get_vocab_size())


def test_the_share_of_unknown_characters_is_told() -> None:
    ours = collect_characters(["abc "])
    report = measure(ours, make_documents("ab cz", "bb", "日本"))
    assert report.total.unknown == 3
    assert report.total.unknown_share == pytest.approx(3 / 9)
    assert report.total.base_bytes_per_token is None


def test_a_document_that_names_its_language_is_believed() -> None:
    tokenizer = learn_bpe(TRAINING, 300)
    report = measure(tokenizer, make_documents("我们今天去看世界。", language="ja"))
    assert [one.language for one in report.languages] == ["ja"]
    report = measure(tokenizer, make_documents("我们今天去看世界。"))
    assert [one.language for one in report.languages] == ["zh"]


def test_a_text_that_spells_a_special_token_is_measured_as_text() -> None:
    report = measure(learn_bpe(TRAINING, 300), make_documents("<|im_end|>"))
    assert report.total.tokens > 1


def test_the_report_is_in_the_manifest(tmp_path: Path) -> None:
    library = TokenizerLibrary(tmp_path / "tokenizers")
    made = train(make_corpus(tmp_path / "corpus"), library, "novels", vocabulary=320)
    assert library.find("novels").manifest.report == made.manifest.report
    assert made.manifest.report.total.documents == len(HELD_OUT)
    empty = train(make_corpus(tmp_path / "none", held_out=[]), library, "none", vocabulary=320)
    assert empty.manifest.report.languages == ()


def test_pieces_are_the_bytes_of_the_text() -> None:
    text = "\u3000 the\t你好 🎉\r\n\u202eabc<|im_end|>\x1b[2J"
    for tokenizer in (learn_bpe(TRAINING, 300), collect_characters([text])):
        pieces = TokenReader(tokenizer).cut(text)
        assert b"".join(piece.content for piece in pieces) == text.encode()
        assert not any(piece.special for piece in pieces)
        assert all(piece.shown.isprintable() and piece.shown for piece in pieces)
        assert not tokenizer.encode_special_tokens


def test_what_would_not_be_seen_has_a_sign() -> None:
    assert show_bytes(b" the") == "·the"
    assert show_bytes(b"a\n\t") == "a↵⇥"
    assert show_bytes("你".encode()[:2]) == "⟨E4 BD⟩"
    assert show_bytes("\u200b".encode()) == "⟨U+200B⟩"
    assert show_bytes(b"\x1b[") == "⟨U+001B⟩["
    assert show_bytes("\u0301".encode()) == "⟨U+0301⟩"
    assert show_bytes(b"") == "⟨⟩"


def test_samples_are_real_tokens_the_longest_first() -> None:
    tokenizer = learn_bpe(TRAINING, 400)
    reader = TokenReader(tokenizer)
    samples = reader.sample(3)
    assert list(samples) == sorted(samples, reverse=True)
    texts = [tokenizer.decode([number]) for number in range(3, 400)]
    assert max(samples) == max(len(text) for text in texts if "\ufffd" not in text)
    for length, pieces in samples.items():
        assert 1 <= len(pieces) <= 3
        assert {len(piece.content.decode()) for piece in pieces} == {length}
