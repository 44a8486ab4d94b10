"""A process that pretrains, to be killed: `python -m tests.admin.pretraining.trained_process FOLDER [RUN]`."""

from __future__ import annotations

import sys
from pathlib import Path

from chatbot.admin.corpus.versions import open_corpus
from chatbot.admin.pretrained import pretrain, resume
from chatbot.admin.pretraining.settling import Wishes, settle
from chatbot.config import Home
from chatbot.store.migrations import open_upgraded
from tests.admin.pretraining.texts import TINY


def main(folder: Path, run_id: str) -> None:
    home = Home(config=folder, data=folder / "data", state=folder, runtime=folder)

    def tell(run: str) -> None:
        print(run, flush=True)  # noqa: T201

    with open_upgraded(f"sqlite:///{home.data / 'chatbot.db'}") as store:
        if run_id:
            tell(run_id)
            resume(store, home, store.runs.find(run_id), lambda _: None, author="ada")
            return
        version, corpus = open_corpus(store, home, "words")
        job, _ = settle(home, corpus, Wishes(architecture=TINY, tokens=40 * 8 * 32, rows=8, threads=1))
        pretrain(store, home, job, version.id, lambda _: None, name="words", author="ada", on_begin=tell)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "")
