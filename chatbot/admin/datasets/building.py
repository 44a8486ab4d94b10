"""Building a dataset version: gather, remove duplicates, measure, cap, split, add general rows, count, freeze.

The same request over the same data gives the same bytes, so a build that would change nothing makes no new version.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from chatbot.admin.datasets.deduplication import Deduplicated, remove_duplicates
from chatbot.admin.datasets.drafts import Draft
from chatbot.admin.datasets.folder import TAUGHT, DatasetFolder
from chatbot.admin.datasets.freezing import freeze, list_items, settle
from chatbot.admin.datasets.gathering import Gathering
from chatbot.admin.datasets.items import SPLITS, Item, Split
from chatbot.admin.datasets.lengths import Measured, Ruler, measure_all
from chatbot.admin.datasets.remembering import find_earlier
from chatbot.admin.datasets.replay import choose_some, count_held, count_wanted
from chatbot.admin.datasets.request import MOST_TOKENS, BuildRequest
from chatbot.admin.datasets.splitting import Splitting, split_groups
from chatbot.admin.datasets.statistics import describe_items
from chatbot.config import Home
from chatbot.errors import InvalidInput, LearningError
from chatbot.files import hash_file
from chatbot.models.library import ModelFolder
from chatbot.models.template import ChatTemplate
from chatbot.store.database import Store

OnProgress = Callable[[str, int, int], object]
"""Hears of a step, how many things are done, and of how many (0: not known)."""


@dataclass(frozen=True, slots=True)
class _Row:
    """A measured draft in its group."""

    measured: Measured
    group: str

    @property
    def draft(self) -> Draft:
        return self.measured.draft


def build(
    store: Store,
    home: Home,
    template: ChatTemplate,
    model: ModelFolder,
    request: BuildRequest,
    on_progress: OnProgress | None = None,
) -> DatasetFolder:
    """The new version, or the newest one if it has the same content already. `template` is that of `model`, the base
    whose window limits the rows.

    Raises InvalidInput for a file that cannot be read or an item that is too long, LearningError if nothing is left to
    learn or the folder cannot be written, StoreError.
    """
    say = on_progress or _ignore
    return settle(store, lambda seen: _build(store, home, template, model, request, say, seen))


def _build(
    store: Store,
    home: Home,
    template: ChatTemplate,
    model: ModelFolder,
    request: BuildRequest,
    say: OnProgress,
    seen: int,
) -> DatasetFolder:
    """`seen` is how many versions there were. Raises DatasetsChanged if another was added meanwhile, which may hold out
    what is trained on here."""
    most = request.max_tokens or min(MOST_TOKENS, model.context)
    if most > model.context:
        raise InvalidInput(f"{model.name} has a window of {model.context:,} tokens; {most:,} do not fit.")
    gathering = Gathering(store, request)
    ruler = Ruler(template, most, request.long, gathering.left_out)
    drafts = gathering.read(_Steps(say, "reading", 0).advance)
    general = gathering.read_replay() if request.replay else []
    held = [(split, Draft.from_item(item)) for split, item in list_items(home, SPLITS[1:])]
    unique = remove_duplicates(
        [*drafts, *general],
        request.near,
        _Steps(say, "comparing", len(drafts) + len(general)).advance,
        held=[draft for _, draft in held],
    )
    measured, origins = measure_all(unique.drafts, ruler, _Steps(say, "measuring", len(unique.drafts)).advance)
    rows = _list_rows(measured, [unique.groups[origin] for origin in origins], gathering.left_out)
    own = _cap([row for row in rows if not _is_general(row)], request, gathering.left_out)
    if not own:
        raise LearningError(f"Nothing is left to learn: {_list_reasons(gathering.left_out)}.", hint=_HINT)
    say("splitting", 0, 0)
    usable = [row for row in rows if _is_general(row)]
    earlier = find_earlier(store, unique, [(row.draft, row.group) for row in (*own, *usable)], held)
    splitting = split_groups([row.group for row in own], earlier, validation=request.validation, test=request.test)
    splits = _sort(own, splitting)
    # A general row that asks what is held out would teach it, so it stands with its group.
    free = [row.group for row in usable if row.group not in splitting.splits]
    aside = split_groups(free, earlier, validation=request.validation, test=request.test)
    replay = _add_general(splits, _sort(usable, splitting, aside), request)
    items = {split: [(row.draft.to_item(row.group), row.measured) for row in splits[split]] for split in SPLITS}
    counts = _count(items, gathering, unique, ruler, most)
    counts["split"] |= {"remembered": splitting.remembered, "united": splitting.united}
    if request.replay:
        counts["replay"] = replay
    kept = {row.group for split in SPLITS[1:] for row in splits[split]}
    if taught := sorted(group for group in kept if "train" in earlier.get(group, ())):
        counts[TAUGHT] = taught
    say("writing", 0, 0)
    return freeze(
        store,
        home,
        {split: [item for item, _ in items[split]] for split in SPLITS},
        seen=seen,
        name=request.name,
        kind=request.kind,
        model=model.name,
        template_sha256=template.sha256,
        tokenizer_sha256=hash_file(model.path / "tokenizer.json"),
        recipe=request.recipe | {"max_tokens": most},
        counts=counts,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


_SAME = "word for word another item"
_HINT = "Approve replies in `chatbot review`, widen the filters, or give a --file."


class _Steps:
    """Counts what a step has done."""

    def __init__(self, say: OnProgress, title: str, total: int) -> None:
        self._say, self._title, self._total, self._done = say, title, total, 0
        self._say(title, 0, total)

    def advance(self) -> None:
        self._done += 1
        self._say(self._title, self._done, self._total)


def _ignore(_step: str, _done: int, _total: int) -> None:
    """Nobody asked for progress."""


def _is_general(row: _Row) -> bool:
    return row.draft.source.startswith("replay:")


def _sort(rows: Sequence[_Row], *splittings: Splitting) -> dict[Split, list[_Row]]:
    """The rows by the splits of their groups."""
    places = {group: split for splitting in splittings for group, split in splitting.splits.items()}
    splits: dict[Split, list[_Row]] = {split: [] for split in SPLITS}
    for row in rows:
        splits[places[row.group]].append(row)
    return splits


def _add_general(
    splits: Mapping[Split, list[_Row]], general: Mapping[Split, Sequence[_Row]], request: BuildRequest
) -> dict[str, int]:
    """Adds general rows to each split, below its own. Returns how many train wanted and got, and how many are held
    out."""
    told = {"wanted": count_wanted(request.replay, len(splits["train"])), "taken": 0, "held": 0}
    for split in SPLITS:
        wanted = told["wanted"] if split == "train" else count_held(request.replay, len(splits[split]))
        chosen = choose_some([row.draft.content_sha for row in general[split]], wanted, request.seed)
        splits[split].extend(general[split][place] for place in chosen)
        told["taken" if split == "train" else "held"] += len(chosen)
    return told


def _list_rows(measured: Sequence[Measured], groups: Sequence[str], left_out: Counter[str]) -> list[_Row]:
    """Each content once: long conversations that begin alike have parts that are the same."""
    rows = {one.draft.content_sha: _Row(one, group) for one, group in zip(measured[::-1], groups[::-1], strict=True)}
    left_out[_SAME] += len(measured) - len(rows)
    return list(rows.values())[::-1]


def _cap(rows: Sequence[_Row], request: BuildRequest, left_out: Counter[str]) -> list[_Row]:
    """At most so many of one source, chosen so that a source that grows keeps most of what it had."""
    if not request.cap:
        return list(rows)
    places: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        places.setdefault(row.draft.source, []).append(place)
    kept: set[int] = set()
    for own in places.values():
        keys = [rows[place].draft.content_sha for place in own]
        kept.update(own[number] for number in choose_some(keys, request.cap, request.seed))
    left_out["over the cap of its source"] += len(rows) - len(kept)
    return [row for place, row in enumerate(rows) if place in kept]


def _count(
    items: Mapping[Split, Sequence[tuple[Item, Measured]]],
    gathering: Gathering,
    unique: Deduplicated,
    ruler: Ruler,
    most: int,
) -> dict[str, Any]:
    measured = {split: [(item, one.tokens, one.learnt) for item, one in items[split]] for split in SPLITS}
    left_out = gathering.left_out + Counter({_SAME: unique.same, "nearly another item": unique.near})
    return {
        **describe_items(measured),
        **gathering.describe(),
        "left_out": dict(left_out.most_common()),
        "split": {"too_long": ruler.split, "max_tokens": most},
    }


def _list_reasons(left_out: Counter[str]) -> str:
    told = [f"{count:,} {reason}" for reason, count in left_out.most_common(3) if count]
    return ", ".join(told) or "no reply was found"
