"""Files of conversations as talks, by the readers of `chatbot logs import`: Alpaca, ShareGPT, OpenAI messages,
preference pairs (DPO), rated replies (KTO), and the exports of other programs.

Whoever names a file approves of what is in it. Where a file judges replies itself (pairs, ratings, reviews), only those
teach that it calls good; else all on the branch on screen do. A reply that it approves and rates down, or prefers
another one to, is bad, as one of the log is.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path

from chatbot.admin.datasets.log import OUTDONE, list_outdone, list_pairs
from chatbot.admin.datasets.talks import Said, Talk
from chatbot.errors import InvalidInput
from chatbot.logs.formats.branches import find_branch
from chatbot.logs.formats.reading import Event, Recognised, SkippedRecord, read_conversations
from chatbot.logs.training_use import RATED_DOWN
from chatbot.store.archive_records import ArchivedConversation, ArchivedMessage
from chatbot.text import printable_line

_MOST_FILES = 10_000  # in a folder: an export has some, somebody's home has very many
_PLACEHOLDER = re.compile(r"\{\{\s*([A-Za-z_]\w{0,39})\s*\}\}")


@dataclass
class Filling:
    """Puts words in the place of {{name}} and the like, and remembers what was met."""

    words: Mapping[str, str]
    filled: Counter[str] = field(default_factory=Counter)
    open: Counter[str] = field(default_factory=Counter)
    """Placeholders for which there is no word."""

    def fill(self, text: str) -> str:
        return _PLACEHOLDER.sub(self._replace, text) if "{{" in text else text

    def _replace(self, found: re.Match[str]) -> str:
        name = found[1]
        if name in self.words:
            self.filled[name] += 1
            return self.words[name]
        self.open[name] += 1
        return found[0]


@dataclass
class FileReport:
    """What a file brought. All of it may be shown."""

    formats: list[str] = field(default_factory=list)
    conversations: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    """Records and members that were passed over, by reason."""


def read_file(
    path: Path,
    *,
    source: str,
    system: str,
    mend: Callable[[str], str],
    report: FileReport,
    on_bytes: Callable[[int], None] | None = None,
) -> Iterator[Talk]:
    """The conversations in a file, folder or archive, with texts changed by `mend`. Raises InvalidInput if `path`
    cannot be read, is a folder of very many files, or nothing in it has a known form."""
    for found in _read_all(path, on_bytes):
        if isinstance(found, ArchivedConversation):
            report.conversations += 1
            yield _read_talk(found, source, system, mend)
        elif isinstance(found, Recognised):
            if found.format not in report.formats:
                report.formats.append(found.format)
        elif isinstance(found, SkippedRecord):
            report.skipped[found.reason] += 1
        else:
            report.skipped[f"{found.file} {found.reason}"] += 1


def _read_all(path: Path, on_bytes: Callable[[int], None] | None) -> Iterator[Event]:
    counts = accumulate(1 + len(names) for _, _, names in os.walk(path))  # of a file it walks nothing
    if any(count > _MOST_FILES for count in counts):
        raise InvalidInput(
            f"{printable_line(str(path))} holds more than {_MOST_FILES:,} files.", hint="Name the one that is meant."
        )
    try:
        yield from read_conversations(path, on_bytes=on_bytes)
    except OSError as error:  # what looks like a file to the system, and is none when it is read
        raise InvalidInput(f"{printable_line(str(path))} cannot be read: {error.strerror}.") from None


def parse_fill(texts: list[str]) -> dict[str, str]:
    """`name=Ada,author=The Lab` as words by name; a comma counts only before the next `name=`. Raises InvalidInput."""
    words: dict[str, str] = {}
    for text in texts:
        for part in re.split(r",(?=\s*[A-Za-z_]\w*=)", text):
            name, equals, word = part.partition("=")
            if not equals or not re.fullmatch(r"[A-Za-z_]\w{0,39}", name.strip()):
                raise InvalidInput(f"{printable_line(part, 60)!r} fills nothing.", hint="Such as name=Ada,author=Lab.")
            words[name.strip()] = word
    return words


def _read_talk(found: ArchivedConversation, source: str, system: str, mend: Callable[[str], str]) -> Talk:
    pairs = list_pairs(found)
    better, outdone = {one for one, _ in pairs}, list_outdone(found, pairs)
    opinions = {one.key: _find_opinion(one) for one in found.messages}
    judged = any(opinion is not None for opinion, _ in opinions.values())
    branch = {one.key for one in find_branch(found)}
    hidden = {one.key: one.parent for one in found.messages if one.hidden}
    said = []
    for message in found.messages:
        if message.hidden:
            continue
        parent = message.parent
        while parent in hidden:
            parent = hidden[parent]
        good, contradiction = opinions[message.key]
        is_outdone = message.key in outdone
        leads = good is not False and message.key in better
        teaches = leads or (good is True if judged else message.key in branch and bool(message.content.strip()))
        if good and is_outdone:
            good, contradiction = False if outdone[message.key] else None, OUTDONE
        said.append(
            Said(
                key=message.key,
                parent=parent,
                role=message.role,
                content=mend(message.content),
                teaches=teaches and not is_outdone,
                leads=leads,
                good=good,
                reason=contradiction or _explain(good, is_outdone, judged),
                contradiction=contradiction,
            )
        )
    return Talk(source, mend(found.system_prompt) or system, tuple(said), pairs)


def _find_opinion(message: ArchivedMessage) -> tuple[bool | None, str]:
    """What the file says of a reply: its newest decision, else its newest rating; and what speaks against that."""
    decided = [one.decision for one in message.reviews]
    rated = [one.rating for one in message.feedback if one.rating is not None]
    rating = rated[-1] if rated else 0
    if not decided or decided[-1] == "withdraw":
        return (rating > 0 if rating else None), ""
    if decided[-1] == "approve" and rating < 0:
        return False, RATED_DOWN
    return decided[-1] == "approve", ""


def _explain(good: bool | None, is_worse: bool, judged: bool) -> str:
    if good is False:
        return "the file calls it bad"
    if is_worse:
        return "another reply was preferred to it"
    return "the file does not judge it" if judged else "it is not on the branch on screen"
