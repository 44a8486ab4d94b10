"""Training a tokenizer: a corpus goes in, a folder comes out, whole or not at all.

The library counts and joins in its own threads and hears no Ctrl-C while it does. So it works aside, and the thread
that called looks after it: it tells how far the reading is, and is free to be interrupted.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

from chatbot.admin.corpus.folder import SPLITS, CorpusFolder
from chatbot.admin.tokenizing.building import (
    SPECIAL,
    UNKNOWN,
    Kind,
    check_vocabulary,
    collect_characters,
    learn_bpe,
)
from chatbot.admin.tokenizing.library import (
    CONFIG,
    FILES,
    MANIFEST,
    TEMPLATE,
    TOKENIZER,
    TokenizerFolder,
    TokenizerLibrary,
    TokenizerManifest,
)
from chatbot.admin.tokenizing.report import Peer, clean, measure
from chatbot.errors import InvalidInput, LearningError
from chatbot.files import hash_file, new_folder, package_folder

if TYPE_CHECKING:
    from pathlib import Path

    from tokenizers import Tokenizer

OnProgress = Callable[[str, int, int], None]
"""The step, how many documents of it are done, of how many; of joining nobody knows how far it is: 0 of 0."""
_TICK = 0.1  # seconds

_Made = TypeVar("_Made")


def train(
    corpus: CorpusFolder,
    library: TokenizerLibrary,
    name: str,
    *,
    vocabulary: int = 8192,
    kind: Kind = "bpe",
    on_progress: OnProgress = lambda *_: None,
    peer: Peer | None = None,
) -> TokenizerFolder:
    """Makes the tokenizer `name` from the corpus' training part, and measures it, beside `peer`, on what is held out.

    `vocabulary` is how many tokens a BPE may have, the special ones and the bytes included; characters are as many as
    there are. Raises InvalidInput (a name that is taken, a size that cannot be, a corpus without text), DatasetDamaged,
    or LearningError if the disk refuses.
    """
    path = library.check_free(name)
    if kind == "bpe":
        check_vocabulary(vocabulary)
    rows = {split: corpus.manifest.files[split].rows for split in SPLITS}
    tokenizer = _learn(corpus, kind, vocabulary, rows["train"], on_progress)
    held_out = corpus.read("validation")
    report = measure(tokenizer, held_out, peer, lambda done: on_progress("measuring", done, rows["validation"]))
    try:
        with new_folder(path) as folder:
            _write(folder, tokenizer, kind)
            files = {file: hash_file(folder / file) for file in FILES}
            manifest = TokenizerManifest.model_validate(
                {
                    "name": name,
                    "kind": kind,
                    "vocabulary": tokenizer.get_vocab_size(),
                    "asked": vocabulary if kind == "bpe" else 0,
                    "sha256": files[TOKENIZER],
                    "files": files,
                    "corpus": corpus.title,
                    "corpus_sha256": corpus.manifest.sha256,
                    "created": datetime.now(UTC).isoformat(timespec="seconds"),
                    "report": report,
                }
            )
            (folder / MANIFEST).write_text(manifest.model_dump_json(indent=2), "utf-8")
    except FileExistsError:
        raise InvalidInput(f"Another process has just made a tokenizer {name}.", hint="Choose another name.") from None
    except OSError as error:
        raise LearningError(f"The tokenizer cannot be written to {path}: {error.strerror}.") from None
    return TokenizerFolder(name, path, manifest)


def _learn(corpus: CorpusFolder, kind: Kind, vocabulary: int, total: int, on_progress: OnProgress) -> Tokenizer:
    reading = _Reading(corpus)

    def tell() -> None:
        if kind == "bpe" and reading.ended:
            on_progress("joining", 0, 0)
        else:
            on_progress("reading", reading.done, total)

    def work() -> Tokenizer:
        return learn_bpe(reading, vocabulary) if kind == "bpe" else collect_characters(reading)

    try:
        tokenizer = _work_aside(work, tell)
    finally:
        reading.given_up = True
    if not reading.characters:
        raise InvalidInput(
            f"The training part of {corpus.title} holds no text, so there is nothing to learn from.",
            hint="Build the corpus from more files.",
        )
    on_progress("reading", reading.done, total)
    return tokenizer


class _Reading:
    """The texts of the training part, and how far they are read; to be read once."""

    def __init__(self, corpus: CorpusFolder) -> None:
        self.done = self.characters = 0
        self.ended = self.given_up = False
        self._documents = corpus.read("train")

    def __iter__(self) -> Iterator[str]:
        for document in self._documents:
            if self.given_up:
                raise InterruptedError  # the library would else take what it has for the whole
            self.done += 1
            self.characters += len(document.text)
            yield clean(document.text)
        self.ended = True


def _work_aside(work: Callable[[], _Made], on_tick: Callable[[], None]) -> _Made:
    """What `work` makes in a thread of its own; `on_tick` is called here meanwhile. If it raises, or Ctrl-C is pressed,
    the thread is left behind, and ends with the process at the latest."""
    made: list[_Made] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            made.append(work())
        except BaseException as error:  # noqa: BLE001  it is raised where it is waited for
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(_TICK)
        on_tick()
    if failed:
        raise failed[0]
    return made[0]


def _write(folder: Path, tokenizer: Tokenizer, kind: Kind) -> None:
    """The files that transformers reads."""
    end = SPECIAL[0]
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": end,
        "eos_token": end,
        "pad_token": end,
        "clean_up_tokenization_spaces": False,  # a text comes back as it was
    }
    if kind == "characters":
        config["unk_token"] = UNKNOWN
    (folder / TOKENIZER).write_text(tokenizer.to_str(pretty=True) + "\n", "utf-8")
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", "utf-8")
    (folder / TEMPLATE).write_bytes((package_folder("data") / "templates" / "chatml.jinja").read_bytes())
