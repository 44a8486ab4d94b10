"""Keeping the search index in step with the messages.

FTS5's tokenizers know words between spaces. Chinese, Japanese, Thai and others write none, so each of their letters is
set apart and becomes a word of its own: any run of letters, even a single one, is then found as a phrase. (FTS5's
trigram tokenizer finds nothing shorter than three letters.) Emoji are treated alike.

A reply is indexed when it has ended. An index without content must be told the old words to forget them, so whoever
changes a text calls `remove` with the old one first. PostgreSQL has no FTS5: there a search reads the texts.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import islice

from sqlalchemy import Connection, delete, insert, select, text

from chatbot.store.search_tables import SearchEntryRow

_APART = re.compile(
    "(["
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer
    "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # kana, Chinese
    "\uac00-\ud7af"  # Korean has spaces, but its particles hang on the words
    "\u2600-\u27bf\U0001f000-\U0001faff"  # symbols and emoji
    "])"
)
_STEP = 500  # how many messages one statement names
_ADD = text("INSERT INTO message_search (rowid, words) VALUES (:number, :words)")
_REMOVE = text("INSERT INTO message_search (message_search, rowid, words) VALUES ('delete', :number, :words)")
# Merges all parts of the index: only then are the words of removed messages gone from its pages.
_OPTIMIZE = text("INSERT INTO message_search (message_search) VALUES ('optimize')")


def spell_out(content: str) -> str:
    """`content` as the index reads it: widths unified, the letters of scripts without spaces set apart."""
    whole = content.encode("utf-8", "replace").decode().replace("\0", " ")
    return _APART.sub(r" \1 ", unicodedata.normalize("NFKC", whole))


def stands_apart(sign: str) -> bool:
    """Whether a letter is a word of its own in the index."""
    return _APART.fullmatch(sign) is not None


def has_index(connection: Connection) -> bool:
    return connection.dialect.name == "sqlite"


def add(connection: Connection, message_id: str, content: str) -> None:
    """Makes a message that is not in the index findable; an empty one is left out."""
    add_many(connection, [(message_id, content)])


def add_many(connection: Connection, messages: Iterable[tuple[str, str]]) -> None:
    """`add` for many (identifier, content), a few hundred at a time: asking for each would be most of an import."""
    if not has_index(connection):
        return
    waiting = iter(messages)
    while step := list(islice(waiting, _STEP)):
        said = [(message_id, content) for message_id, content in step if content]
        numbers = _choose_numbers(connection, [message_id for message_id, _ in said])
        if said:
            entries = [{"number": numbers[message_id], "message_id": message_id} for message_id, _ in said]
            connection.execute(SearchEntryRow.__table__.insert(), entries)  # type: ignore[attr-defined]
            words = [{"number": numbers[message_id], "words": spell_out(content)} for message_id, content in said]
            connection.execute(_ADD, words)


def remove(connection: Connection, message_id: str, content: str) -> None:
    """Forgets a message; `content` is what it was added with. One that is not in the index is passed over."""
    if not has_index(connection):
        return
    number = connection.scalar(select(SearchEntryRow.number).where(SearchEntryRow.message_id == message_id))
    if number is not None:
        connection.execute(_REMOVE, {"number": number, "words": spell_out(content)})
        connection.execute(delete(SearchEntryRow).where(SearchEntryRow.number == number))


def replace(connection: Connection, message_id: str, old: str, new: str) -> None:
    remove(connection, message_id, old)
    add(connection, message_id, new)


def compact(connection: Connection) -> None:
    """Rewrites the index; what was removed leaves its pages. Over a million messages this takes several seconds."""
    if has_index(connection):
        connection.execute(_OPTIMIZE)


def _choose_numbers(connection: Connection, message_ids: Sequence[str]) -> dict[str, int]:
    """The time and the counter of each UUIDv7, 60 bits; the next free number where another process had the same."""
    table = SearchEntryRow
    wanted = {message_id: read_time(message_id) for message_id in message_ids}
    taken = set(connection.scalars(select(table.number).where(table.number.in_(set(wanted.values())))))
    chosen: dict[str, int] = {}
    for message_id, number in wanted.items():
        while number in taken:
            number += 1  # noqa: PLW2901
            if connection.scalar(select(table.number).where(table.number == number)) is not None:
                taken.add(number)
        taken.add(number)
        chosen[message_id] = number
    return chosen


def read_time(identifier: str) -> int:
    """The first 60 bits of a UUIDv7: milliseconds since 1970 and a counter."""
    digits = identifier.replace("-", "")
    return int(digits[:12] + digits[13:16], 16)
