"""The tables by which messages are found.

`message_search` is an FTS5 table without content of its own: it holds words and numbers, no text, and its numbers are
those of `search_entry`. They rise with the time of the message (the first 60 bits of its identifier), because FTS5
reads its index in the order of numbers: the newest hits of the commonest word are then read first and the rest not at
all. Over a million messages that took under a millisecond, and ranking all hits by bm25 half a second.

The beginnings of words that a search finds (four letters and more) have lists of their own, up to five letters: without
them FTS5 reads every place of every word that begins so, 50 to 90 ms for a common one.

A message's own rowid would not do: VACUUM, and so each backup, may number rows anew.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import DDL, BigInteger, Integer, event
from sqlalchemy.orm import Mapped, mapped_column

from chatbot.store.tables import Row, link

CREATE_INDEX = """CREATE VIRTUAL TABLE message_search USING fts5(
    words, content='', prefix='4 5', tokenize="unicode61 remove_diacritics 2 categories 'L* N* Co So'")"""


class SearchEntryRow(Row):
    __tablename__ = "search_entry"

    number: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False
    )
    message_id: Mapped[str] = link("message.id", "CASCADE")


_create = DDL(CREATE_INDEX)  # type: ignore[no-untyped-call]
event.listen(SearchEntryRow.__table__, "after_create", _create.execute_if(dialect="sqlite"))


def is_ours(name: str | None, kind: str, _: Any = None) -> bool:
    """False for the tables that FTS5 makes for itself: no model describes them."""
    return kind != "table" or not (name or "").startswith("message_search")
