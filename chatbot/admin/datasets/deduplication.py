"""Near-duplicates: those that say the same are removed, those that ask the same are kept on one side of the split.

Two items are one if both prompt and reply are alike: the same answer to another question is what is to be learnt (many
phrasings, one name), and so is another answer to the same question, for preferences. But whoever has trained on a
question knows the question, so items whose prompts are alike, and items with the same long reply, form one group with
all of their conversation: a group is never cut by the split.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from chatbot.admin.datasets.drafts import Draft
from chatbot.admin.datasets.similarity import Neighbours, Shingles, cut_shingles, measure_similarity

SAME_PROMPT = 0.6
"""Prompts that are so alike (Jaccard) are not separated by the split."""
_SAME_REPLY = 0.8
_LONG_REPLY = 200  # shingles; the same long reply to another prompt is a copy, a short one is a habit
_MOST_COMPARED = 200  # replies to one prompt that a new one is compared with


@dataclass(frozen=True, slots=True)
class Deduplicated:
    """`groups` has the group of each of `drafts`: the smallest identity of its members."""

    drafts: tuple[Draft, ...]
    groups: tuple[str, ...]
    members: dict[str, frozenset[str]]
    """The identities in each group, also of those that were removed."""
    same: int
    """Removed because word for word another item."""
    near: int
    """Removed because nearly another item."""


def remove_duplicates(
    drafts: Sequence[Draft], threshold: float, on_item: Callable[[], object] = lambda: None
) -> Deduplicated:
    """The first of each set of near-duplicates, in order. `threshold` is the similarity that both prompt and reply must
    have; above 1 only exact copies go."""
    prompts, replies = Neighbours(SAME_PROMPT), Neighbours(_SAME_REPLY)
    known_prompts: dict[bytes, int] = {}
    by_prompt: dict[int, list[tuple[Draft, Shingles]]] = {}
    by_reply: dict[int, str] = {}
    seen: set[str] = set()
    groups = _Groups()
    kept: list[Draft] = []
    same = near = 0
    for number, draft in enumerate(drafts):
        on_item()
        identity = groups.add(draft.identity)
        if (content := draft.content_sha) in seen:
            same += 1
            continue
        seen.add(content)
        prompt, reply = cut_shingles(draft.prompt), cut_shingles(draft.reply)
        own = known_prompts.setdefault(prompt.tobytes(), number)
        alike = prompts.find(prompt) if own == number else [(own, 1.0)]
        if own == number:
            prompts.add(number, prompt)
            by_prompt[number] = []
        is_near = False
        for other, similarity in alike:
            if by_prompt[other]:
                groups.join(identity, by_prompt[other][0][0].identity)
            if similarity >= threshold and not is_near:
                is_near = any(
                    one.good == draft.good and measure_similarity(shingles, reply) >= threshold
                    for one, shingles in by_prompt[other][-_MOST_COMPARED:]
                )
        if is_near:
            near += 1
            continue
        if reply.size >= _LONG_REPLY:
            copies = replies.find(reply)
            for other, _ in copies:
                groups.join(identity, by_reply[other])
            if not any(similarity == 1.0 for _, similarity in copies):
                replies.add(number, reply)
                by_reply[number] = draft.identity
        by_prompt[own].append((draft, reply))
        kept.append(draft)
    members = groups.list_members()
    return Deduplicated(tuple(kept), tuple(groups.find(one.identity) for one in kept), members, same, near)


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
