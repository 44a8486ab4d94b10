"""Files of conversations as talks, by the readers of `chatbot logs import`: Alpaca, ShareGPT, OpenAI messages,
preference pairs (DPO), rated replies (KTO), and the exports of other programs.

Whoever names a file approves of what is in it. Where a file judges replies itself (pairs, ratings, reviews), only those
teach that it calls good; else all on the branch on screen do.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from chatbot.admin.datasets.log import list_pairs
from chatbot.admin.datasets.talks import Said, Talk
from chatbot.errors import InvalidInput
from chatbot.logs.formats.branches import find_branch
from chatbot.logs.formats.reading import Recognised, SkippedRecord, read_conversations
from chatbot.store.archive_records import ArchivedConversation, ArchivedMessage
from chatbot.text import printable_line

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
    cannot be read or nothing in it has a known form."""
    for found in read_conversations(path, on_bytes=on_bytes):
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
    better, worse = {one for one, _ in pairs}, {other for _, other in pairs}
    opinions = {one.key: _find_opinion(one) for one in found.messages}
    judged = any(opinion is not None for opinion in opinions.values())
    branch = {one.key for one in find_branch(found)}
    hidden = {one.key: one.parent for one in found.messages if one.hidden}
    said = []
    for message in found.messages:
        if message.hidden:
            continue
        parent = message.parent
        while parent in hidden:
            parent = hidden[parent]
        good = opinions[message.key]
        teaches = good is True if judged else message.key in branch or message.key in better
        teaches = teaches and message.key not in worse and bool(message.content.strip())
        said.append(
            Said(
                key=message.key,
                parent=parent,
                role=message.role,
                content=mend(message.content),
                teaches=teaches or (message.key in better and good is not False),
                good=good,
                reason=_explain(good, message.key in worse, judged),
            )
        )
    return Talk(source, mend(found.system_prompt) or system, tuple(said), pairs)


def _find_opinion(message: ArchivedMessage) -> bool | None:
    """What the file says of a reply: its newest decision, else its newest rating."""
    decided = [one.decision for one in message.reviews]
    if decided and decided[-1] != "withdraw":
        return decided[-1] == "approve"
    rated = [one.rating for one in message.feedback if one.rating is not None]
    return rated[-1] > 0 if rated and rated[-1] else None


def _explain(good: bool | None, is_worse: bool, judged: bool) -> str:
    if good is False:
        return "the file calls it bad"
    if is_worse:
        return "another reply was preferred to it"
    return "the file does not judge it" if judged else "it is not on the branch on screen"
