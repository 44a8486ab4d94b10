"""What an item is before it is one: texts and the messages they came from, not yet measured, compared, or split."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import chain

from chatbot.admin.datasets.items import Item, Kind, LabelItem, PreferenceItem, SftItem, Turn, hash_content

_ID = 16  # hexadecimal digits of an item's identifier


@dataclass(frozen=True, slots=True)
class Draft:
    """`messages` names the messages that each of `turns` came from; `answer_messages` those of `answers`, which are the
    chosen and the rejected reply of a preference, or the one of a label."""

    kind: Kind
    source: str
    turns: tuple[Turn, ...]
    messages: tuple[tuple[str, ...], ...]
    answers: tuple[str, ...] = ()
    answer_messages: tuple[str, ...] = ()
    good: bool = False
    conversation: str = ""

    @property
    def prompt(self) -> str:
        """What is asked: all turns without the system's, for SFT up to the first reply that is learnt."""
        said: list[str] = []
        for turn in self.turns:
            if turn.learn:
                break
            if turn.role != "system":
                said.append(turn.content)
        return "\n".join(said)

    @property
    def reply(self) -> str:
        """What is answered: for SFT all that follows the prompt."""
        if self.kind != "sft":
            return "\n".join(self.answers)
        first = next((place for place, turn in enumerate(self.turns) if turn.learn), len(self.turns))
        return "\n".join(turn.content for turn in self.turns[first:])

    @property
    def learnt(self) -> tuple[int, ...]:
        """The places of the turns that carry loss."""
        return tuple(place for place, turn in enumerate(self.turns) if turn.learn)

    def list_exchanges(self) -> Iterator[tuple[str, str]]:
        """Each reply that is learnt, compared or labelled, below what was said just before it."""
        for place in self.learnt:
            yield self.turns[place - 1].content if place else "", self.turns[place].content
        asked = self.turns[-1].content if self.turns else ""
        yield from ((asked, answer) for answer in self.answers)

    @property
    def identity(self) -> str:
        """What stays the same in later versions, whatever its replies become: its conversation, or else its prompt."""
        return self.conversation or f"text:{hash_text(self.prompt)}"

    @property
    def content_sha(self) -> str:
        return hash_content(self.to_item(""))

    @classmethod
    def from_item(cls, item: Item) -> Draft:
        """What an item was before; which message each turn came from is no longer known."""
        answers: tuple[str, ...] = ()
        if isinstance(item, PreferenceItem):
            answers = (item.chosen, item.rejected)
        elif isinstance(item, LabelItem):
            answers = (item.reply,)
        return cls(
            kind=item.kind,
            source=item.source,
            turns=item.turns,
            messages=((),) * len(item.turns),
            answers=answers,
            good=isinstance(item, LabelItem) and item.good,
            conversation=item.conversation,
        )

    def change(self, mend: Callable[[str], str]) -> Draft:
        """The same with other texts."""
        turns = tuple(turn.model_copy(update={"content": mend(turn.content)}) for turn in self.turns)
        return replace(self, turns=turns, answers=tuple(map(mend, self.answers)))

    def unlearn(self, places: Collection[int]) -> Draft:
        """The same, but the replies at these places are only context."""
        turns = tuple(
            turn.model_copy(update={"learn": False}) if place in places else turn
            for place, turn in enumerate(self.turns)
        )
        return replace(self, turns=turns)

    def keep(self, places: Sequence[int]) -> Draft:
        """The same with only these turns."""
        return replace(
            self,
            turns=tuple(self.turns[place] for place in places),
            messages=tuple(self.messages[place] for place in places),
        )

    def to_item(self, group: str) -> Item:
        """The item; its identifier says what it holds."""
        about = {
            "id": "",
            "source": self.source,
            "group": group,
            "conversation": self.conversation,
            "messages_from": tuple(dict.fromkeys([*chain.from_iterable(self.messages), *self.answer_messages])),
            "turns": self.turns,
        }
        item: Item
        if self.kind == "sft":
            item = SftItem(**about)
        elif self.kind == "preference":
            item = PreferenceItem(**about, chosen=self.answers[0], rejected=self.answers[1])
        else:
            item = LabelItem(**about, reply=self.answers[0], good=self.good)
        return item.model_copy(update={"id": hash_content(item)[:_ID]})


def hash_text(text: str) -> str:
    """The sha256 of the words, however they are set: case, width, spaces and punctuation do not count."""
    return hashlib.sha256(normalize(text).encode("utf-8", "surrogatepass")).hexdigest()


def normalize(text: str) -> str:
    """Letters, digits and signs of value in one form, single spaces between words."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(folded.translate(_make_table()).split()) or " ".join(folded.split())


class _Table(dict[int, int | str]):
    """Space for what is no letter, mark, number or sign of value; filled as characters are met."""

    def __missing__(self, code: int) -> int | str:
        self[code] = kept = code if unicodedata.category(chr(code))[0] in "LNMS" else " "
        return kept


@cache
def _make_table() -> _Table:
    return _Table()
