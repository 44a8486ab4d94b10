"""What was held out before: by the rows, which know every version that there ever was, and by the files, which know
its texts.

What one dataset holds out is not trained on in another, or the figures of the first would tell nothing any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from chatbot.admin.datasets.deduplication import Deduplicated, remove_duplicates
from chatbot.admin.datasets.drafts import Draft
from chatbot.admin.datasets.freezing import list_items
from chatbot.admin.datasets.items import Item, Split
from chatbot.config import Home
from chatbot.store.database import Store

_ONLY_COPIES = 2.0


def find_earlier(
    store: Store,
    unique: Deduplicated,
    drafts: Iterable[tuple[Draft, str]],
    held: Sequence[tuple[Split, Draft]],
) -> Mapping[str, set[str]]:
    """The splits in which earlier versions had the group of each of `drafts`: by its members and contents in the rows,
    and by what their files hold out, which knows a prompt also if it is asked otherwise and its row names another
    member."""
    contents = {draft.content_sha: group for draft, group in drafts}
    names: dict[str, str] = {}
    for group in set(contents.values()):
        names |= dict.fromkeys(unique.members[group], group)
    names |= contents
    earlier: dict[str, set[str]] = {}
    for key, splits in store.datasets.find_splits(names).items():
        earlier.setdefault(names[key], set()).update(splits)
    for split, draft in held:
        if draft.identity in names:
            earlier.setdefault(names[draft.identity], set()).add(split)
    return earlier


def find_known(store: Store, home: Home, items: Iterable[Item], splits: Sequence[Split]) -> frozenset[str]:
    """The contents' sha256 of those of `items` that ask what a version here has in one of `splits`. Raises StoreError,
    LearningError."""
    there = [(split, Draft.from_item(item)) for split, item in list_items(home, splits)]
    unique = remove_duplicates(list(map(Draft.from_item, items)), _ONLY_COPIES, held=[draft for _, draft in there])
    drafts = list(zip(unique.drafts, unique.groups, strict=True))
    earlier = find_earlier(store, unique, drafts, there)
    return frozenset(draft.content_sha for draft, group in drafts if not earlier.get(group, set()).isdisjoint(splits))
