"""Small texts as corpora, and models that were trained on them."""

from __future__ import annotations

import random
from pathlib import Path

from chatbot.admin.corpus.building import build
from chatbot.admin.corpus.request import CorpusRequest
from chatbot.admin.corpus.versions import open_corpus
from chatbot.admin.pretrained import Pretrained, pretrain
from chatbot.admin.pretraining.job import PretrainingJob
from chatbot.admin.pretraining.settling import Wishes, settle
from chatbot.admin.tokenizing.library import TokenizerLibrary
from chatbot.admin.tokenizing.training import train
from chatbot.config import Home
from chatbot.store.database import Store
from tests.admin.pretraining.texts import TINY

_WORDS = ["the", "a", "cat", "dog", "sees", "likes", "red", "big", "and", "house", "tree", "in", "on", "runs", "sleeps"]


def write_text(path: Path) -> Path:
    numbers = random.Random(0)
    lines = [" ".join(numbers.choice(_WORDS) for _ in range(12)).capitalize() + "." for _ in range(300)]
    path.write_text("\n\n".join(lines))
    return path


def prepare(
    store: Store, home: Home, tmp_path: Path, *, holdout: float = 0.1, **wishes: object
) -> tuple[PretrainingJob, str]:
    """A job over a small text, and the corpus' row."""
    text = write_text(tmp_path / "text.txt")
    corpus = build(store, home, CorpusRequest(name="words", paths=(text,), holdout=holdout), lambda *_: None)
    library = TokenizerLibrary(home.tokenizers)
    if not library.list():
        train(corpus, library, "words", vocabulary=300, kind="bpe", on_progress=lambda *_: None)
    chosen = {"architecture": TINY, "tokens": 12 * 8 * 32, "rows": 8, "threads": 1} | wishes
    job, plan = settle(home, corpus, Wishes(**chosen))  # type: ignore[arg-type]
    assert plan.config == job.config
    return job, open_corpus(store, home, "words")[0].id


def do(store: Store, home: Home, job: PretrainingJob, corpus: str) -> Pretrained:
    return pretrain(store, home, job, corpus, lambda _: None, name="words", author="ada", on_begin=lambda _: None)
