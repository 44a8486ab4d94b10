"""From a conversation, wherever it was kept, to the drafts of items: which replies are learnt, compared or labelled.

The log and files become the same thing first: a tree of messages of which each reply is known to teach or not. A
branch is one SFT item; a reply that stands on several branches is learnt on one of them only, or it would weigh more
the more often people asked on from it. Replies that do not teach stay as context, since the chat would show them too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import dropwhile, islice

from chatbot.admin.datasets.drafts import Draft
from chatbot.admin.datasets.items import Kind, Turn
from chatbot.models.template import Role

_MOST_ABOVE = 2000  # messages above a reply that is compared or labelled; each such reply repeats them


@dataclass(frozen=True, slots=True)
class Said:
    """A message. `teaches` says whether it may be learnt, `leads` whether it may be the better one of a pair, `good`
    whether it was liked (None: nobody said); if not, `reason` says why."""

    key: str
    parent: str | None
    role: Role
    content: str
    teaches: bool = False
    leads: bool = False
    good: bool | None = None
    reason: str = ""
    asked: bool = True
    """False if the filter means other replies."""
    contradiction: str = ""
    """What was said against a reply that was approved, if anything: a person should look at it again."""


@dataclass(frozen=True, slots=True)
class Talk:
    """A conversation; hidden messages are left out and those below them hang where they hung. Parents stand first."""

    source: str
    system: str
    said: tuple[Said, ...]
    pairs: tuple[tuple[str, str], ...] = ()
    """The keys of two replies of which the first is better."""
    conversation: str = ""
    """Its identifier, and so those of its messages are worth noting; empty for one of a file."""


def draft_items(talk: Talk, kind: Kind, left_out: Counter[str]) -> Iterator[Draft]:
    """The drafts of one kind; replies that come to nothing are counted in `left_out` by their reason."""
    tree = _Tree(talk)
    if kind == "sft":
        yield from tree.list_branches(left_out)
    elif kind == "preference":
        yield from tree.list_pairs(left_out)
    else:
        yield from tree.list_labels(left_out)


class _Tree:
    def __init__(self, talk: Talk) -> None:
        self._talk = talk
        self._known = {said.key: said for said in talk.said}

    def list_branches(self, left_out: Counter[str]) -> Iterator[Draft]:
        learnt: set[str] = set()
        for said in self._talk.said:
            if said.role != "assistant" or not said.asked:
                continue
            if not said.teaches:
                left_out[said.reason] += 1
            elif not self._answers(said):
                left_out["it answers no prompt"] += 1
            else:
                learnt.add(said.key)
        above: set[str] = set()
        for key in learnt:
            for said in self._climb(self._known[key].parent):
                if said.key in above:
                    break
                above.add(said.key)
        done: set[str] = set()
        for said in reversed(self._talk.said):  # the newest branch is the one that the talk went on with
            if said.key in learnt and said.key not in above:
                path = list(self._climb(said.key))[::-1]
                new = {one.key for one in path if one.key in learnt} - done
                done |= new
                yield self._draft("sft", path, new)

    def list_pairs(self, left_out: Counter[str]) -> Iterator[Draft]:
        for better_key, worse_key in self._talk.pairs:
            better, worse = self._known.get(better_key), self._known.get(worse_key)
            if better is None or worse is None or not better.asked:
                continue
            if not better.leads:
                left_out[better.reason] += 1
            elif better.parent != worse.parent or worse.role != "assistant" or not self._answers(better):
                left_out["the two are no replies to the same prompt"] += 1
            elif not worse.content.strip() or better.content.strip() == worse.content.strip():
                left_out["the two replies do not differ"] += 1
            else:
                yield self._draft("preference", self._list_above(better), set(), (better, worse))

    def list_labels(self, left_out: Counter[str]) -> Iterator[Draft]:
        for said in self._talk.said:
            if said.role != "assistant" or not said.asked:
                continue
            if said.good is None:
                left_out[said.reason] += 1
            elif not said.content.strip() or not self._answers(said):
                left_out["it answers no prompt"] += 1
            else:
                yield self._draft("label", self._list_above(said), set(), (said,))

    def _climb(self, key: str | None) -> Iterator[Said]:
        while key is not None:
            said = self._known[key]
            yield said
            key = said.parent

    def _list_above(self, said: Said) -> list[Said]:
        """What stands above a reply, as far as a window may reach, from a prompt on."""
        path = list(islice(self._climb(said.parent), _MOST_ABOVE))[::-1]
        return list(dropwhile(lambda one: one.role != "user", path)) if len(path) == _MOST_ABOVE else path

    def _answers(self, said: Said) -> bool:
        """Whether it stands below a prompt that says something; messages that say nothing are passed over."""
        above = next((one for one in self._climb(said.parent) if one.content.strip()), None)
        return above is not None and above.role == "user"

    def _draft(self, kind: Kind, path: Sequence[Said], learnt: set[str], answers: Sequence[Said] = ()) -> Draft:
        turns = [Turn(role="system", content=self._talk.system)]
        messages: list[list[str]] = [[]]
        for said in path:
            if not said.content:
                continue
            # As the chat does it, so that the turns of an item alternate.
            if turns[-1].role == said.role:
                turns[-1] = Turn(role=said.role, content=f"{turns[-1].content}\n\n{said.content}")
                messages[-1].append(said.key)
            else:
                turns.append(Turn(role=said.role, content=said.content, learn=said.key in learnt))
                messages.append([said.key])
        named = bool(self._talk.conversation)
        return Draft(
            kind=kind,
            source=self._talk.source,
            turns=tuple(turns),
            messages=tuple(tuple(keys) if named else () for keys in messages),
            answers=tuple(one.content for one in answers),
            answer_messages=tuple(one.key for one in answers) if named else (),
            good=bool(answers and answers[0].good),
            conversation=self._talk.conversation,
        )
