"""Forgetting: items of a conversation that is to be gone leave the files of the versions too.

A frozen version is so damaged knowingly: its files are written anew without those items, its manifest has new hashes
and says how many items were struck, and its row has the new sha256. It keeps its number, because what trained on it did
learn them. What is struck is decided by the conversation that an item names, and by the rows: an item of the files
whose row is gone was forgotten, and a kill between the two is so made good the next time anything is forgotten.

The texts of an item are not always those of the messages: placeholders were filled, personal data was masked, turns
were merged. Evaluations and runs kept them as they stand in the item, so they are forgotten there as they stand.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from chatbot.admin.datasets.drafts import Draft
from chatbot.admin.datasets.folder import DatasetFolder, DatasetManifest, read_manifest, write_folder
from chatbot.admin.datasets.freezing import list_folders, lock_datasets
from chatbot.admin.datasets.items import SPLITS, Item, Split, hash_content
from chatbot.admin.datasets.statistics import describe_content
from chatbot.admin.traces import forget_traces
from chatbot.config import Home
from chatbot.errors import ChatbotError, DatasetDamaged, LearningError, NotFound, StoreError
from chatbot.store.database import Store
from chatbot.store.datasets import DatasetVersion


@dataclass(frozen=True, slots=True)
class Struck:
    """A version that was written anew, and how many items it lost."""

    name: str
    number: int
    items: int


@dataclass(frozen=True, slots=True)
class Forgetting:
    """What was done, and the first of what could not be: an error for when all else is told."""

    struck: tuple[Struck, ...]
    failure: ChatbotError | None = None


def forget(store: Store, home: Home, conversation_ids: Collection[str] = (), texts: Iterable[str] = ()) -> Forgetting:
    """Takes the items of conversations, and those whose rows are gone, out of every version's files; then their texts,
    and `texts`, which are those of the messages, out of what evaluations and runs keep.

    Each of it is tried even if something before has failed. The failure is a LearningError that names the folders that
    could not be written anew and so may hold the texts, or the StoreError of a database that could not follow.
    """
    said = set(texts)
    struck: list[Struck] = []
    failures: list[ChatbotError] = []
    try:
        failures += _strike_all(store, home, set(conversation_ids), said, struck)
    except LearningError as error:
        failures.append(error)
    try:
        forget_traces(store, home, said)
    except (LearningError, StoreError) as error:
        failures.append(error)
    return Forgetting(tuple(struck), failures[0] if failures else None)


def _strike_all(
    store: Store, home: Home, conversations: set[str], texts: set[str], struck: list[Struck]
) -> list[ChatbotError]:
    """Adds what was struck to `struck` and its prompts and replies to `texts`; returns what failed."""
    if not home.datasets.is_dir():
        return []
    left: list[str] = []
    failures: list[ChatbotError] = []
    with lock_datasets(home):
        for name, number, path in list_folders(home):
            version = _Striking(store, name, number, path)
            try:
                if count := version.strike(conversations, texts):
                    struck.append(Struck(name, number, count))
            except (DatasetDamaged, OSError) as error:
                left.append(f"{path} ({error.message if isinstance(error, DatasetDamaged) else error.strerror})")
            failures += [version.failure] if version.failure else []
    if left:
        named = LearningError(
            f"These dataset folders may still hold what was forgotten: {'; '.join(left)}.",
            hint="Delete them with `chatbot admin dataset delete`, or by hand.",
        )
        failures.insert(0, named)
    return failures


class _Striking:
    """One version. The files do not wait for the database: `failure` is what that said, if it could not be asked."""

    def __init__(self, store: Store, name: str, number: int, path: Path) -> None:
        self._store = store
        self._path = path
        self.failure: StoreError | None = None
        self._version: DatasetVersion | None = None
        try:
            self._version = store.datasets.find(name, number)
        except NotFound:
            pass
        except StoreError as error:
            self.failure = error

    def strike(self, conversations: set[str], texts: set[str]) -> int:
        """How many items went. Raises DatasetDamaged, OSError."""
        mentioned = _mentions(self._path, conversations)
        try:
            manifest = read_manifest(self._path)
        except DatasetDamaged:
            if mentioned:
                raise
            return 0
        left = self._count_left(manifest)
        if not mentioned and left is None:
            self._follow(manifest)
            return 0
        folder = DatasetFolder(self._path, manifest)  # its hashes do not matter: also a changed file is struck
        kept: dict[Split, list[Item]] = {split: [] for split in SPLITS}
        gone: list[Item] = []
        for split in SPLITS:
            for item in folder.read(split):
                is_gone = item.conversation in conversations
                if left is not None and not is_gone:
                    key = (split, hash_content(item))
                    is_gone = not left[key]
                    left[key] -= 1
                (gone if is_gone else kept[split]).append(item)
        if gone:
            texts.update(text for item in gone for text in _list_texts(item))
            manifest = _write_anew(self._path, manifest, kept, len(gone))
        self._follow(manifest)
        return len(gone)

    def _count_left(self, manifest: DatasetManifest) -> Counter[tuple[str, str]] | None:
        """The rows that are left of a version by split and content, None if none is gone or nobody can tell."""
        if self._version is None:
            return None
        try:
            if self._store.datasets.count_items(self._version.id) == sum(one.rows for one in manifest.files.values()):
                return None
            return Counter((item.split, item.content_sha) for item in self._store.datasets.items(self._version.id))
        except StoreError as error:
            self.failure = error
            return None

    def _follow(self, manifest: DatasetManifest) -> None:
        """Has the row say what the files are now, also if it could not the last time."""
        row = self._version
        if row is None or row.sha256 == manifest.sha256 or _read_struck(manifest.counts) <= _read_struck(row.counts):
            return
        try:
            self._store.datasets.replace_content(row.id, sha256=manifest.sha256, counts=manifest.counts)
        except StoreError as error:
            self.failure = error


def _write_anew(
    path: Path, manifest: DatasetManifest, kept: Mapping[Split, Sequence[Item]], gone: int
) -> DatasetManifest:
    # Tokens were counted with a template that may not be here any more: no figure is better than an old one.
    known = {name: value for name, value in manifest.counts.items() if name not in ("tokens", "learnt_tokens")}
    counts = known | describe_content(kept) | {"struck": gone + _read_struck(known)}
    about = manifest.model_dump(exclude={"files", "counts"})
    return write_folder(path, kept, replace=True, counts=counts, **about).manifest


def _read_struck(counts: Mapping[str, object]) -> int:
    before = counts.get("struck")
    return before if isinstance(before, int) else 0


def _list_texts(item: Item) -> Iterator[str]:
    """The prompts and replies of an item: each by itself, as an evaluation or a run may have kept it."""
    draft = Draft.from_item(item)
    yield from (turn.content for turn in draft.turns if turn.role != "system")
    yield from draft.answers


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
