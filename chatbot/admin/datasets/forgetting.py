"""Forgetting: items of a conversation that is to be gone leave the files of the versions too.

A frozen version is so damaged knowingly: its files are written anew without those items, its manifest has new hashes
and says how many items were struck, and its row has the new sha256. It keeps its number, because what trained on it did
learn them. What is struck is decided by the conversation that an item names, and by the rows: an item of the files
whose row is gone was forgotten, and a kill between the two is so made good the next time anything is forgotten.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from chatbot.admin.datasets.folder import DatasetFolder, DatasetManifest, read_manifest, write_folder
from chatbot.admin.datasets.freezing import list_folders
from chatbot.admin.datasets.items import SPLITS, Item, Split, hash_content
from chatbot.config import Home
from chatbot.errors import DatasetDamaged, LearningError, NotFound
from chatbot.store.database import Store
from chatbot.store.datasets import DatasetVersion


@dataclass(frozen=True, slots=True)
class Struck:
    """A version that was written anew, and how many items it lost."""

    name: str
    number: int
    items: int


def strike(store: Store, home: Home, conversation_ids: Collection[str] = ()) -> list[Struck]:
    """Takes the items of conversations, and those whose rows are gone, out of every version's files.

    Every version is tried even if one before has failed. Raises DatasetDamaged or LearningError, which name the folders
    that could not be written anew and so may hold the texts.
    """
    done: list[Struck] = []
    failures: list[str] = []
    for name, number, path in list_folders(home):
        try:
            count = _strike_version(store, name, number, path, set(conversation_ids))
        except (DatasetDamaged, OSError) as error:
            failures.append(f"{path} ({error.message if isinstance(error, DatasetDamaged) else error.strerror})")
            continue
        if count:
            done.append(Struck(name, number, count))
    if failures:
        raise LearningError(
            f"These dataset folders may still hold what was forgotten: {'; '.join(failures)}.",
            hint="Delete them with `chatbot admin dataset delete`, or by hand.",
        )
    return done


def _strike_version(store: Store, name: str, number: int, path: Path, conversations: set[str]) -> int:
    mentioned = _mentions(path, conversations)
    try:
        manifest = read_manifest(path)
    except DatasetDamaged:
        if mentioned:
            raise
        return 0
    version = _find_row(store, name, number)
    left = _count_left(store, version, manifest) if version else None
    if not mentioned and left is None:
        return 0
    folder = DatasetFolder(path, manifest)  # its hashes do not matter: what is struck goes also from a changed file
    kept: dict[Split, list[Item]] = {split: [] for split in SPLITS}
    struck = 0
    for split in SPLITS:
        for item in folder.read(split):
            gone = item.conversation in conversations
            if left is not None and not gone:
                key = (split, hash_content(item))
                gone = not left[key]
                left[key] -= 1
            if gone:
                struck += 1
            else:
                kept[split].append(item)
    if not struck:
        return 0
    before = manifest.counts.get("struck")
    counts = {**manifest.counts, "items": {split: len(kept[split]) for split in SPLITS}}
    counts["struck"] = struck + (before if isinstance(before, int) else 0)
    about = manifest.model_dump(exclude={"files", "counts"})
    written = write_folder(path, kept, replace=True, counts=counts, **about)
    if version is not None:
        store.datasets.replace_content(version.id, sha256=written.manifest.sha256, counts=counts)
    return struck


def _mentions(path: Path, conversations: Collection[str]) -> bool:
    """Whether the files hold the identifier of one of the conversations, sound or damaged. Raises OSError."""
    wanted = [one.encode() for one in conversations]
    for split in SPLITS if wanted else ():
        file = path / f"{split}.jsonl"
        if file.is_file():
            with file.open("rb") as lines:
                if any(one in line for line in lines for one in wanted):
                    return True
    return False


def _count_left(store: Store, version: DatasetVersion, manifest: DatasetManifest) -> Counter[tuple[str, str]] | None:
    """The rows that are left of a version by split and content, None if none is gone."""
    if store.datasets.count_items(version.id) == sum(file.rows for file in manifest.files.values()):
        return None
    return Counter((item.split, item.content_sha) for item in store.datasets.items(version.id))


def _find_row(store: Store, name: str, number: int) -> DatasetVersion | None:
    try:
        return store.datasets.find(name, number)
    except NotFound:
        return None
