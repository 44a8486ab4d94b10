"""Near-duplicates: those that say the same are removed, those that ask the same are kept on one side of the split.

Two items are one if both prompt and reply are alike: the same answer to another question is what is to be learnt (many
phrasings, one name), and so is another answer to the same question, for preferences. But whoever has trained on a
question knows the question, so items whose prompts are alike, and items with the same long reply, form one group with
all of their conversation: a group is never cut by the split. What is asked later in a conversation is often no question
of its own ("And then?"), so there a reply counts together with what stands just before it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from chatbot.admin.datasets.drafts import Draft, normalize
from chatbot.admin.datasets.similarity import Neighbours, Shingles, cut_shingles, measure_similarity, unite_shingles
from chatbot.logs.findings import UNSPACED

SAME_PROMPT = 0.6
"""Prompts that are so alike (Jaccard) are not separated by the split."""
_SAME_REPLY = 0.8
_LONG_REPLY = 200  # shingles; the same long reply to another prompt is a copy, a short one is a habit
_SAME_EXCHANGE = 0.7
_TELLING = 12  # characters of a question; what is shorter ("Thanks!") is asked in every other conversation
_MOST_COMPARED = 200  # replies to one prompt that a new one is compared with
_DENSE = re.compile(f"[{UNSPACED}]")


@dataclass(frozen=True, slots=True)
class Deduplicated:
    """`groups` has the group of each of `drafts`: the smallest identity of its members."""

    drafts: tuple[Draft, ...]
    groups: tuple[str, ...]
    members: dict[str, frozenset[str]]
    """The identities in each group, also of what was removed and of what earlier versions held out."""
    same: int
    """Removed because word for word another item."""
    near: int
    """Removed because nearly another item."""


def remove_duplicates(
    drafts: Sequence[Draft],
    threshold: float,
    on_item: Callable[[], object] = lambda: None,
    *,
    held: Sequence[Draft] = (),
) -> Deduplicated:
    """The first of each set of near-duplicates, in order. `threshold` is the similarity that both prompt and reply must
    have; above 1 only exact copies go. `held` is what earlier versions held out: it joins groups, no more."""
    finder = _Finder(threshold)
    for draft in held:
        finder.join(draft, cut_shingles(draft.reply))
    kept = []
    same = near = 0
    names: dict[str, str] = {}
    for draft in drafts:
        on_item()
        match finder.take(draft):
            case "same":
                same += 1
            case "near":
                near += 1
            case _:
                kept.append(draft)
    for identity in sorted({draft.identity for draft in drafts}):
        names.setdefault(finder.groups.find(identity), identity)
    groups = tuple(names[finder.groups.find(draft.identity)] for draft in kept)
    members = {names[root]: own for root, own in finder.groups.list_members().items() if root in names}
    return Deduplicated(tuple(kept), groups, members, same, near)


class _Finder:
    """What has been taken so far."""

    def __init__(self, threshold: float) -> None:
        self.groups = _Groups()
        self._threshold = threshold
        self._prompts, self._replies = _Texts(SAME_PROMPT), _Texts(_SAME_REPLY)
        self._exchanges = _Texts(_SAME_EXCHANGE)
        self._answers: dict[int, list[tuple[Draft, Shingles]]] = {}
        """By the number of the prompt."""
        self._seen: dict[str, str] = {}

    def take(self, draft: Draft) -> Literal["new", "same", "near"]:
        identity = self.groups.add(draft.identity)
        content = draft.content_sha
        if content in self._seen:
            self.groups.join(identity, self._seen[content])
            return "same"
        self._seen[content] = identity
        reply = cut_shingles(draft.reply)
        alike = self.join(draft, reply)
        for other, similarity in alike:
            if similarity < self._threshold:
                continue
            for one, shingles in self._answers.get(other, ())[-_MOST_COMPARED:]:
                if one.good == draft.good and measure_similarity(shingles, reply) >= self._threshold:
                    return "near"
        self._answers.setdefault(alike[0][0], []).append((draft, reply))
        return "new"

    def join(self, draft: Draft, reply: Shingles) -> list[tuple[int, float]]:
        """Adds the draft to the group of all whose prompts, long replies, or single replies with what they answer, are
        alike. Returns the numbers of its own prompt and of those like it."""
        identity = self.groups.add(draft.identity)
        prompt = cut_shingles(draft.prompt)
        alike = self._prompts.take(prompt, identity)
        copies = self._replies.take(reply, identity) if reply.size >= _LONG_REPLY else []
        for texts, found in ((self._prompts, alike), (self._replies, copies)):
            for other, _ in found:
                self.groups.join(identity, texts.owners[other])
        for asked, answer in draft.list_exchanges():
            if _weigh(asked) < _TELLING:
                continue
            is_whole = (asked, answer) == (draft.prompt, draft.reply)  # as nearly always: it is cut already
            both = unite_shingles(*((prompt, reply) if is_whole else (cut_shingles(asked), cut_shingles(answer))))
            for other, _ in self._exchanges.take(both, identity):
                self.groups.join(identity, self._exchanges.owners[other])
        return alike


def _weigh(text: str) -> int:
    """Characters, of which those of scripts without spaces say three times as much."""
    told = normalize(text)
    return len(told) + 2 * len(_DENSE.findall(told))


class _Texts:
    """Distinct texts by number, each with the identity that had it first."""

    def __init__(self, threshold: float) -> None:
        self.owners: list[str] = []
        self._known: dict[bytes, int] = {}
        self._neighbours = Neighbours(threshold)

    def take(self, shingles: Shingles, identity: str) -> list[tuple[int, float]]:
        """The text's own number with 1.0, then those of the others that are alike, if it is new here."""
        key = shingles.tobytes()
        if key in self._known:
            return [(self._known[key], 1.0)]
        number = self._known[key] = len(self.owners)
        self.owners.append(identity)
        return [(number, 1.0), *self._neighbours.take(number, shingles)]


class _Groups:
    """Sets of identities that grow together; a set is named by its smallest member."""

    def __init__(self) -> None:
        self._above: dict[str, str] = {}

    def add(self, identity: str) -> str:
        self._above.setdefault(identity, identity)
        return identity

    def find(self, identity: str) -> str:
        root = identity
        while self._above[root] != root:
            root = self._above[root]
        while identity != root:
            self._above[identity], identity = root, self._above[identity]
        return root

    def join(self, one: str, other: str) -> None:
        low, high = sorted((self.find(one), self.find(other)))
        self._above[high] = low

    def list_members(self) -> dict[str, frozenset[str]]:
        found: dict[str, set[str]] = {}
        for identity in self._above:
            found.setdefault(self.find(identity), set()).add(identity)
        return {group: frozenset(members) for group, members in found.items()}
