"""Finding what was said: full text in any language, newest first.

Every word of the query must stand in the message. A word of four or more letters also finds the longer words that
begin with it; "quotation marks" keep words together and exact. Whatever else is typed is a word or nothing: each word
is quoted before FTS5 sees it, so that no string is an error. A query of signs only, which no index of words holds,
reads the texts instead; so does PostgreSQL.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, column, select, table

from chatbot.errors import InvalidInput
from chatbot.store.filters import AnySelect, LogFilter, limit_messages
from chatbot.store.judgement_tables import ReplyStateRow
from chatbot.store.learning_tables import ModelVersionRow
from chatbot.store.records import Role
from chatbot.store.search_index import has_index, is_dropped, make_storable, spell_out, stands_apart
from chatbot.store.search_tables import SearchEntryRow
from chatbot.store.sessions import Database
from chatbot.store.tables import ConversationRow, MessageRow

_PART = re.compile(r'"([^"]*)"?|(\S+)')
_WORD = re.compile(r"[^\W_]+")
_PREFIX_LETTERS = 4  # shorter beginnings have so many words that reading all their places took 100 to 300 ms
_MOST_WORDS = 32
_MOST_CHARACTERS = 4000
_AROUND = 60  # characters of the snippet before and after the hit
_MARK = "\u0300"  # what stands in a folded text for any accent or vowel point that stands alone
_INDEX = table("message_search", column("message_search"), column("rowid"))


@dataclass(frozen=True, slots=True)
class Hit:
    """A message that was found. `snippet` is raw text around the first hit; `spans` are the hits in it."""

    message_id: str
    conversation_id: str
    title: str
    role: Role
    model: str
    created: datetime
    snippet: str
    spans: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Term:
    """One word or quoted run of words of a query."""

    words: str
    prefix: bool


class Search:
    """Reads the index. Messages of deleted conversations are found only by a filter that asks for the bin."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, query: str, asked: LogFilter | None = None, *, limit: int = 20, offset: int = 0) -> list[Hit]:
        """Raises InvalidInput for a query that holds nothing."""
        terms = parse_query(query)
        with self._database.read() as connection:
            chosen = choose_messages(connection, query, asked or LogFilter()).limit(limit).offset(offset)
            return [_make_hit(row, query, terms) for row in connection.execute(chosen)]

    def find_conversations(self, query: str, asked: LogFilter, *, limit: int, offset: int = 0) -> list[str]:
        """The ids of the conversations that hold a hit, by their newest hit."""
        found: dict[str, None] = {}
        with self._database.read() as connection:
            rows = connection.execution_options(yield_per=200).execute(choose_messages(connection, query, asked))
            for row in rows:
                found.setdefault(row.conversation_id)
                if len(found) >= limit + offset:
                    break
            rows.close()
        return list(found)[offset:]


def parse_query(query: str) -> list[Term]:
    """The terms of `query`, at most 32; none for signs only. Raises InvalidInput if it is empty."""
    if not _split(query):
        raise InvalidInput("There is nothing to search for.", hint="Give a word.")
    terms = []
    for found in _PART.finditer(query[:_MOST_CHARACTERS]):
        quoted = found[1] is not None
        words = " ".join(spell_out(found[1] if quoted else found[2]).replace('"', " ").split())
        letters = _WORD.findall(words)
        if letters or any(unicodedata.category(sign) == "So" for sign in words):
            whole = len(letters) == 1 and len(letters[0]) >= _PREFIX_LETTERS
            terms.append(Term(words, prefix=whole and not quoted))
    return terms[:_MOST_WORDS]


def choose_messages(connection: Connection, query: str, asked: LogFilter) -> AnySelect:
    """The messages that `query` finds, newest first."""
    message, conversation, state = MessageRow, ConversationRow, ReplyStateRow
    terms = parse_query(query)
    columns: AnySelect = select(
        message.id,
        message.conversation_id,
        message.role,
        message.created_at,
        message.content,
        conversation.title,
        ModelVersionRow.name.label("model"),
    )
    if terms and has_index(connection):
        entry = SearchEntryRow
        chosen = (
            columns.join_from(_INDEX, entry, entry.number == _INDEX.c.rowid)
            .join(message, message.id == entry.message_id)
            .where(_INDEX.c.message_search.op("MATCH")(write_match(terms)))
            .order_by(_INDEX.c.rowid.desc())
        )
    else:
        parts = [message.content.icontains(part, autoescape=True) for part in _split(query)]
        chosen = columns.select_from(message).where(*parts).order_by(message.id.desc())
    chosen = (
        chosen.join(conversation, conversation.id == message.conversation_id)
        .outerjoin(ModelVersionRow, ModelVersionRow.id == message.model_version_id)
        .outerjoin(state, state.message_id == message.id)
    )
    return limit_messages(chosen, asked)


def write_match(terms: Sequence[Term]) -> str:
    """The terms in the language of FTS5."""
    return " AND ".join(f'"{term.words}"{"*" if term.prefix else ""}' for term in terms)


def _make_hit(row: Any, query: str, terms: Sequence[Term]) -> Hit:
    start, end, spans = cut_snippet(row.content, query, terms)
    return Hit(
        message_id=row.id,
        conversation_id=row.conversation_id,
        title=row.title,
        role=row.role,
        model=row.model or "",
        created=row.created_at,
        snippet=row.content[start:end],
        spans=spans,
    )


def cut_snippet(content: str, query: str, terms: Sequence[Term]) -> tuple[int, int, tuple[tuple[int, int], ...]]:
    """Where a snippet of `content` begins and ends, and the hits within it; without a hit that can be shown, the
    beginning."""
    hits = sorted(_find_hits(content, query, terms))
    first = hits[0][0] if hits else 0
    start = max(0, first - _AROUND)
    if start:  # not in the middle of a word
        space = content.find(" ", start, first)
        start = space + 1 if space >= 0 else start
    end = min(len(content), (hits[0][1] if hits else first) + 2 * _AROUND)
    return start, end, tuple((a - start, min(b, end) - start) for a, b in hits if a < end)


def _find_hits(content: str, query: str, terms: Sequence[Term]) -> Iterator[tuple[int, int]]:
    folded = _fold(content)
    for term in terms:
        words = [_fold(word) for word in _WORD.findall(term.words)] or [_fold(term.words)]
        begins = "" if stands_apart(words[0][0]) else r"(?<![^\W_])"
        ends = "" if term.prefix or stands_apart(words[-1][-1]) else r"(?![^\W_])"
        # What stands between two words of a term: anything that is no letter, or nothing in scripts without spaces.
        inner = r"[\W_]*?".join(map(_write_pattern, words))
        yield from (found.span() for found in re.finditer(begins + inner + ends, folded))
    for part in _split(query) if not terms else ():
        yield from (found.span() for found in re.finditer(re.escape(_fold(part)), folded))


def _write_pattern(word: str) -> str:
    """Finds a folded word in a folded text, in which marks that stand alone are still there, and ß is not yet ss."""
    letters = "".join(f"{re.escape(sign)}{_MARK}*" for sign in word)
    return letters.replace(f"s{_MARK}*s", f"(?:s{_MARK}*s|ß)")


def _fold(content: str) -> str:
    """`content` without the differences of case, width and accents, sign for sign, so that places stay the same."""
    if content.isascii():
        return content.lower()
    return "".join(_fold_sign(sign) for sign in content)


def _fold_sign(sign: str) -> str:
    if is_dropped(sign):
        return _MARK
    if stands_apart(sign):  # Korean syllables would fall into their letters
        return sign
    first = unicodedata.normalize("NFKD", sign)[0]
    small = first.casefold()
    return small if len(small) == 1 else first.lower()[0]


def _split(query: str) -> list[str]:
    """The words of a query that holds no letters, as a database takes them."""
    return make_storable(query[:_MOST_CHARACTERS]).split()[:_MOST_WORDS]
