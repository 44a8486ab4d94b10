"""From a corpus and a tokenizer to a model of the library that goes on with text, and what a kill leaves."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from chatbot.admin.corpus.building import build
from chatbot.admin.corpus.request import CorpusRequest
from chatbot.admin.pretrained import resume
from chatbot.admin.pretraining.settling import Wishes, settle
from chatbot.admin.training.events import Event, HeldOut, Step, read_events
from chatbot.config import Home
from chatbot.errors import LearningError
from chatbot.models.library import ModelLibrary
from chatbot.models.template import ChatMessage
from chatbot.store.database import Store
from tests.admin.pretraining.readers import do, prepare, write_text
from tests.admin.pretraining.texts import TINY


def test_what_was_pretrained_is_a_model_like_any_other(store: Store, home: Home, tmp_path: Path) -> None:
    job, corpus = prepare(store, home, tmp_path)
    done = do(store, home, job, corpus)
    assert (done.model, done.outcome.status, done.outcome.step) == ("words-1", "finished", 12)
    assert done.outcome.loss is not None
    assert done.outcome.first_loss is not None
    assert done.outcome.loss < done.outcome.first_loss
    folder = ModelLibrary(home.models).find_verified("words-1")
    assert (folder.manifest.answers, folder.kind, folder.context) == ("text", "base", 32)
    assert folder.manifest.parameters == TINY.count_parameters(300)
    # It goes on with text as it stands; an adapter would be taught with the chat format.
    completer, chat = folder.load_template(answering=True), folder.load_template()
    said = [ChatMessage("system", "Be kind."), ChatMessage("user", "The cat")]
    assert completer.render(said) == "The cat"
    assert completer.encode(said)[0] == completer.tokenizer.token_to_id("<|endoftext|>")
    assert chat.render(said).startswith("<|im_start|>system\nBe kind.")
    assert chat.sha256 == folder.template_sha

    run = store.runs.find(done.run_id)
    assert (run.kind, run.status, run.model, run.datasets) == ("pretrain", "complete", "words-1", ("words/1",))
    assert store.aliases.all() == {"candidate": "words-1"}
    version = store.model_versions.find("words-1")
    assert (version.kind, version.sha256) == ("base", folder.sha256)
    assert store.lineage.of_model(version.id).datasets[0].name == "words"
    assert len(store.runs.metrics(run.id, "loss")) == 12

    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder.path, local_files_only=True)
    ids = AutoTokenizer.from_pretrained(folder.path, local_files_only=True)("The cat sees", return_tensors="pt")
    assert torch.isfinite(model(**ids).logits).all()


def test_continued_pretraining_keeps_what_the_base_is(store: Store, home: Home, tmp_path: Path) -> None:
    from tests.admin.training.samples import build_tiny

    base = build_tiny(home.models / "tiny")
    job, corpus = prepare(store, home, tmp_path, architecture=None, base=base, length=16)
    assert (job.config.optimizer, job.config.architecture) == ("adamw", None)
    done = do(store, home, job, corpus)
    made = ModelLibrary(home.models).find_verified(done.model)
    assert (made.kind, made.manifest.answers) == ("base", "chat")
    assert made.template_sha == base.template_sha
    assert made.sha256 != base.sha256
    job, corpus = prepare(store, home, tmp_path, architecture=None, base=base, length=16, lora=True)
    done = do(store, home, job, corpus)
    made = ModelLibrary(home.models).find_verified(done.model)
    assert (made.kind, made.manifest.base) == ("adapter", "tiny")


def test_an_adapter_that_read_on_goes_on_with_text_like_its_base(store: Store, home: Home, tmp_path: Path) -> None:
    job, corpus = prepare(store, home, tmp_path)
    base = ModelLibrary(home.models).find(do(store, home, job, corpus).model)
    job, corpus = prepare(store, home, tmp_path, architecture=None, base=base, length=16, lora=True)
    made = ModelLibrary(home.models).find_verified(do(store, home, job, corpus).model)
    assert (made.kind, made.manifest.base, made.manifest.answers) == ("adapter", base.name, "text")
    assert made.load_template(answering=True).completes


def test_a_tokenizer_is_asked_for_where_there_is_none(store: Store, home: Home, tmp_path: Path) -> None:
    text = write_text(tmp_path / "text.txt")
    corpus = build(store, home, CorpusRequest(name="words", paths=(text,), holdout=0.1), lambda *_: None)
    with pytest.raises(LearningError, match="No tokenizer was trained on words"):
        settle(home, corpus, Wishes(architecture=TINY, tokens=1000))


def test_a_budget_becomes_a_number_of_tokens(store: Store, home: Home, tmp_path: Path) -> None:
    job, _ = prepare(store, home, tmp_path, tokens=0, rows=0, budget=3.0)
    assert job.config.steps >= 20
    assert job.config.tokens == job.config.steps * job.config.rows * job.config.length


@pytest.mark.slow
def test_kills_at_any_moment_change_nothing(store: Store, home: Home, tmp_path: Path) -> None:
    """A process that pretrains is killed at random and taken up until it is done: the same losses, the same bytes."""
    job, corpus = prepare(store, home, tmp_path, tokens=40 * 8 * 32)
    whole = do(store, home, job, corpus)
    numbers = random.Random(1)
    begun, kills = "", 0
    for _ in range(60):
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.admin.pretraining.trained_process", str(tmp_path), begun],
            stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3],
        )  # fmt: skip
        assert process.stdout is not None
        first = process.stdout.readline().strip()  # the run's id, once it is there
        begun = begun or first
        if kills < 6:
            time.sleep(numbers.uniform(0, 0.6))
            process.send_signal(signal.SIGKILL)
        code = process.wait(120)
        process.stdout.close()
        if code == 0:
            break
        kills += 1
    run = store.runs.find(begun)
    assert run.status == "complete"
    assert kills >= 3, "else nothing was tried"
    assert losses(home.runs / begun) == losses(home.runs / whole.run_id)
    first_weights, second = (load_file(home.models / name / "model.safetensors") for name in (whole.model, run.model))
    assert all(torch.equal(first_weights[name], second[name]) for name in first_weights)
    with pytest.raises(LearningError, match="is complete"):
        resume(store, home, run, lambda _: None, author="ada")


def losses(folder: Path) -> list[tuple[int, float]]:
    events: list[Event] = list(read_events(folder))
    return [(event.step, event.loss) for event in events if isinstance(event, Step | HeldOut)]
