"""Forgetting: documents that came from a conversation that is to be gone leave the files of the corpora too.

As with datasets (admin/datasets/forgetting), a frozen version is so damaged knowingly: its files are written anew
without those documents, its manifest has new hashes and says how many were struck, its row has the new sha256. The
tokens that were made of it go with the old folder and are made again when they are asked for. A document of the log
whose row is gone was forgotten, too, and a kill between the two is so made good the next time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from chatbot.admin.corpus.folder import (
    MANIFEST,
    SPLITS,
    CorpusFolder,
    CorpusManifest,
    RowWriter,
    Split,
    SplitFile,
    locate,
    read_manifest,
)
from chatbot.admin.corpus.forgotten import Tally
from chatbot.admin.corpus.holding import hash_unit
from chatbot.admin.corpus.versions import find_corpus, list_folders, list_parents, lock_corpus, sweep
from chatbot.admin.datasets.forgetting import Struck
from chatbot.config import Home
from chatbot.errors import ChatbotError, LearningError, NotFound
from chatbot.files import new_folder, write_file
from chatbot.store.database import Store
from chatbot.store.datasets import DatasetVersion


def strike(store: Store, home: Home, conversation_ids: Collection[str] = ()) -> list[Struck]:
    """Takes the documents of conversations, and those whose rows are gone, out of every version's files.

    Every version is tried even if one before has failed. Raises LearningError, which names the folders that could not
    be written anew and so may hold the texts.
    """
    done: list[Struck] = []
    failures: list[str] = []
    for parent in list_parents(home):
        try:
            with lock_corpus(parent):
                sweep(parent)
                for path in list_folders(parent):
                    try:
                        if (struck := _strike_version(store, path, set(conversation_ids))) is not None:
                            done.append(struck)
                    except (ChatbotError, OSError) as error:
                        failures.append(_tell(path, error))
        except (LearningError, OSError) as error:
            failures.append(_tell(parent, error))
    if failures:
        raise LearningError(
            f"These corpora may still hold what was forgotten: {'; '.join(failures)}.",
            hint="Delete them with `chatbot admin corpus delete`, or by hand.",
        )
    return done


def _tell(path: Path, error: ChatbotError | OSError) -> str:
    return f"{path} ({error.message if isinstance(error, ChatbotError) else error.strerror})"


def _strike_version(store: Store, path: Path, conversations: set[str]) -> Struck | None:
    manifest = read_manifest(path)
    if not manifest.counts.get("conversations"):
        return None
    version = _find_row(store, manifest)
    folder = CorpusFolder(path, manifest)  # its hashes do not matter: what is struck goes also from a changed file
    left = _count_left(store, version) if version is not None else None
    gone: dict[Split, set[int]] = {split: set() for split in SPLITS}
    kept: set[str] = set()
    items: Counter[str] = Counter()
    tally = Tally(manifest.counts)
    for split in SPLITS:
        for number, document in enumerate(folder.read(split)):
            if not document.conversation:
                tally.keep(split, document)
                continue
            key = (split, hash_unit(document.text))
            if document.conversation in conversations or (left is not None and not left[key]):
                gone[split].add(number)
                tally.strike(document)
            else:
                kept.add(document.conversation)
                tally.keep(split, document)
                items[split] += 1
                if left is not None:
                    left[key] -= 1
    struck = sum(map(len, gone.values()))
    if not struck:
        return None
    before = manifest.counts.get("struck")
    counts = {**tally.describe(), "conversations": len(kept), "items": {split: items[split] for split in SPLITS}}
    counts["struck"] = struck + (before if isinstance(before, int) else 0)
    with new_folder(path, replace=True) as new:
        files = {split: _rewrite(folder, split, gone[split], new) for split in SPLITS}
        counts["rows"] = {split: files[split].rows for split in SPLITS}
        counts["bytes"] = {split: files[split].text_bytes for split in SPLITS}
        written = manifest.model_copy(update={"files": files, "counts": counts})
        write_file(new / MANIFEST, written.model_dump_json(indent=2))
    if version is not None:
        store.datasets.replace_content(version.id, sha256=written.sha256, counts=counts)
    return Struck(manifest.name, manifest.number, struck)


def _rewrite(folder: CorpusFolder, split: Split, gone: set[int], new: Path) -> SplitFile:
    with RowWriter(locate(new, split)) as writer:
        for number, document in enumerate(folder.read(split)):
            if number not in gone:
                writer.write(replace(document, continues=document.continues and number - 1 not in gone))
        return writer.close()


def _find_row(store: Store, manifest: CorpusManifest) -> DatasetVersion | None:
    try:
        return find_corpus(store, f"{manifest.name}/{manifest.number}")
    except NotFound:
        return None


def _count_left(store: Store, version: DatasetVersion) -> Counter[tuple[str, str]]:
    """The rows that are left of a version by split and content."""
    return Counter((item.split, item.content_sha) for item in store.datasets.items(version.id))
