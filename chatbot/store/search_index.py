"""Keeping the search index in step with the messages.

FTS5's tokenizers know words between spaces. Chinese, Japanese, Thai and others write none, so each of their letters is
set apart and becomes a word of its own: any run of letters, even a single one, is then found as a phrase. (FTS5's
trigram tokenizer finds nothing shorter than three letters.) Emoji and other signs are treated alike, since FTS5 takes
some of them for letters: “100°C” would be one word.

The tokenizer knows the accents of Latin letters only, so those of the other alphabets that have some are dropped
before: a text with Hebrew points or Arabic vowels, ё or ό is found without them, too.

A reply is indexed when it has ended. An index without content must be told the old words to forget them, so whoever
changes a text calls `remove` with the old one first. PostgreSQL has no FTS5: there a search reads the texts.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import islice

from sqlalchemy import Connection, delete, select, text

from chatbot.store.search_tables import SearchEntryRow
from chatbot.store.tables import MessageRow

_APART = re.compile(
    "(["
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer
    "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # kana, Chinese
    "\uac00-\ud7af"  # Korean has spaces, but its particles hang on the words
    r"]|[^\w\s!-~\u0300-\u036f])"  # whatever is neither letter, space, ASCII nor an accent
)
# Of alphabets whose marks stand for accents and short vowels. In the scripts of India they are the vowels themselves.
_MARKED = (
    (0x00C0, 0x052F),  # Latin, combining accents, Greek, Cyrillic
    (0x0590, 0x06FF),  # Hebrew, Arabic
    (0x0750, 0x077F),  # more Arabic
    (0x0870, 0x08FF),
    (0x1DC0, 0x1DFF),  # more accents
    (0x1E00, 0x1FFF),  # Latin and Greek with accents
    (0x2DE0, 0x2DFF),  # Cyrillic letters above others
)
_HALF = re.compile("[\ud800-\udfff]")
_STEP = 500  # how many messages one statement names
_ADD = text("INSERT INTO message_search (rowid, words) VALUES (:number, :words)")
_REMOVE = text("INSERT INTO message_search (message_search, rowid, words) VALUES ('delete', :number, :words)")
# Merges all parts of the index: only then are the words of removed messages gone from its pages.
_DELETE_ALL = text("INSERT INTO message_search (message_search) VALUES ('delete-all')")
_OPTIMIZE = text("INSERT INTO message_search (message_search) VALUES ('optimize')")


def spell_out(content: str) -> str:
    """`content` as the index reads it: widths unified, accents and vowel points dropped, the letters of scripts without
    spaces set apart."""
    if content.isascii():
        return content.replace("\0", " ")
    plain = unicodedata.normalize("NFKC", make_storable(content)).translate(_make_folding())
    return _APART.sub(r" \1 ", plain)


@functools.cache
def _make_folding() -> dict[int, str]:
    """For `str.translate`, which is quick: what stands in the index for each letter with a mark, and for each mark."""
    folding = {}
    for first, last in _MARKED:
        for sign in map(chr, range(first, last + 1)):
            if sign.isalpha() or _is_mark(sign):
                bare = "".join(part for part in unicodedata.normalize("NFKD", sign) if not _is_mark(part))
                folding[ord(sign)] = bare.casefold()
    return folding


def _is_mark(sign: str) -> bool:
    return unicodedata.category(sign) == "Mn"


def make_storable(text: str) -> str:
    """`text` without what a database refuses: halves of surrogate pairs, and NUL."""
    return _HALF.sub("\ufffd", text).replace("\0", " ")


def is_dropped(sign: str) -> bool:
    """Whether the index leaves out a mark that stands alone."""
    return _make_folding().get(ord(sign)) == ""


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


def rebuild(connection: Connection) -> None:
    """Empties the index and fills it anew with all messages that have ended."""
    if not has_index(connection):
        return
    connection.execute(_DELETE_ALL)
    connection.execute(delete(SearchEntryRow))
    ended = select(MessageRow.id, MessageRow.content).where(MessageRow.status != "streaming").order_by(MessageRow.id)
    add_many(connection, ((row.id, row.content) for row in connection.execute(ended)))


def compact(connection: Connection) -> None:
    """Rewrites the index; what was removed leaves its pages and the free pages of the file. Over a million messages
    this takes several seconds, in which nobody else can write."""
    if has_index(connection):
        connection.execute(_OPTIMIZE)


def _choose_numbers(connection: Connection, message_ids: Sequence[str]) -> dict[str, int]:
    """The time and the counter of each UUIDv7, 60 bits. Where that is taken, a place in the seconds after it, by the
    identifier's noise: thousands of imported messages may bear the same time, and to try one number after the other
    would take the square of that."""
    table = SearchEntryRow
    wanted = {message_id: read_time(message_id) for message_id in message_ids}
    taken = set(connection.scalars(select(table.number).where(table.number.in_(set(wanted.values())))))
    chosen: dict[str, int] = {}
    for message_id, number in wanted.items():
        if number in taken:
            number += int(message_id[-6:], 16)  # noqa: PLW2901
            while number in taken or connection.scalar(select(table.number).where(table.number == number)) is not None:
                number += 1  # noqa: PLW2901
        taken.add(number)
        chosen[message_id] = number
    return chosen


def read_time(identifier: str) -> int:
    """The first 60 bits of a UUIDv7: milliseconds since 1970 and a counter."""
    digits = identifier.replace("-", "")
    return int(digits[:12] + digits[13:16], 16)
