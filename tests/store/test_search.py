"""The search: every script, any query, against a model of a dozen lines."""

from __future__ import annotations

import itertools
import random
import re
import sys
import unicodedata
from collections.abc import Iterator

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chatbot.errors import InvalidInput
from chatbot.store.archive_records import ArchivedConversation, ArchivedMessage
from chatbot.store.database import Store
from chatbot.store.filters import LogFilter
from chatbot.store.search import cut_snippet, parse_query, write_match
from tests.store.sample import answer, say


@pytest.fixture
def store() -> Iterator[Store]:
    with Store.in_memory() as opened:
        yield opened


def archive(texts: list[str], key: str = "") -> ArchivedConversation:
    """One conversation in which each text is a message."""
    messages = (
        ArchivedMessage(str(place), str(place - 1) if place else None, "user" if place % 2 == 0 else "assistant", text)
        for place, text in enumerate(texts)
    )
    return ArchivedConversation(key, tuple(messages), title="t")


def find(store: Store, query: str, **asked: object) -> list[str]:
    """The texts that are found; short enough to be their own snippets."""
    return [hit.snippet for hit in store.search.find(query, LogFilter(**asked), limit=10_000)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "queries"),
    [
        ("Die Äpfel fielen auf die Straße.", ["äpfel", "APFEL", "apfe", "straße fielen", '"auf die"', "Stra"]),
        ("今天天气怎么样？", ["天", "天气", "今天天气", "怎么样", "今天 样", '"天气怎"']),
        ("東京タワーに行きたい", ["東京", "タワー", "ワ", "行きたい", "ﾀﾜｰ"]),
        ("오늘 날씨가 어때요?", ["날씨", "날", "날씨가", "오늘 어때"]),
        ("วันนี้อากาศเป็นอย่างไร", ["อากาศ", "วันนี้", "อ"]),
        ("आज मौसम कैसा है", ["मौसम", "आज है"]),
        ("كيف حال الطقس اليوم", ["الطقس", "كيف اليوم"]),
        ("Какая сегодня ПОГОДА", ["погода", "СЕГОДНЯ", "пого"]),
        ("Τι καιρό κάνει ο άνθρωπος", ["καιρό", "ΚΑΙΡΌ", "καιρο", "ΑΝΘΡΩΠΟΣ"]),
        ("Пришёл ФЁДОР", ["федор", "фёдор", "пришел"]),
        ("قرأت كِتَابٌ", ["كتاب", "كِتَاب"]),
        ("אמר שָׁלוֹם", ["שלום", "שָׁלוֹם"]),
        ("Große STRASSE", ["grosse", "straße"]),
        ("ship it 🚀🎉 at 100°C for 5€ or 7₽", ["🚀", "🎉", "ship 🚀", "100", "100°C", "°C", "5€", "7₽", "7"]),
        ("C++ and foo_bar(x) → naïve-looking", ["c++", "foo_bar", "bar", "naive", '"foo_bar(x)"', "look", "→"]),
        ("ＡＢＣ ﬁnd １２３", ["abc", "find", "123"]),
    ],
)
def test_what_was_said_in_any_language_is_found(store: Store, text: str, queries: list[str]) -> None:
    say(store, "something else entirely 别的")
    message = say(store, text)
    for query in queries:
        assert [hit.message_id for hit in store.search.find(query)] == [message.id], query


@pytest.mark.parametrize("query", ["str", "天样", "样今", "aße", "कम", '"die auf"', "fielen nowhere", "🚁", "10"])
def test_what_was_not_said_is_not_found(store: Store, query: str) -> None:
    say(store, "Die Straße: fielen auf die 100°C 今天天气怎么样 🚀 किम")
    assert store.search.find(query) == []


def test_no_sign_hides_the_word_beside_it(store: Store) -> None:
    signs = [
        sign
        for sign in map(chr, range(0x21, sys.maxunicode))
        if unicodedata.category(sign)[0] in "PS" and unicodedata.normalize("NFKC", sign) == sign
    ][::5]
    texts = [f"wordbefore{sign}wordafter" for sign in signs]
    store.archive.add([archive(texts)], source="")
    for query in ('"wordbefore"', '"wordafter"'):
        assert len(store.search.find(query, limit=100_000)) == len(signs) > 1000


# The model: a text is a list of words; a sign of a script without spaces is a word; a term is a run of words.
ALPHABETS = ("abä", "бв", "天气今", "อา", "날씨", "🚀🎉", "  .,-")
TEXTS = st.text(st.sampled_from("".join(ALPHABETS) + "eéE "), max_size=14)


def split(text: str) -> list[str]:
    plain = "".join(sign for sign in unicodedata.normalize("NFD", text.lower()) if not unicodedata.combining(sign))
    return re.findall(r"[天气今อา🚀🎉]|[\uac00-\ud7af]|[a-zа-я]+", unicodedata.normalize("NFC", plain))


def holds(text: str, query: str) -> bool:
    words = split(text)
    for part in query.split():
        run = split(part)
        prefix = len(run) == 1 and len(run[0]) >= 4
        places = range(len(words) - len(run) + 1)
        if not any(words[at : at + len(run)] == run or (prefix and words[at].startswith(run[0])) for at in places):
            return False
    return True


def test_the_search_finds_what_a_dozen_lines_find(store: Store) -> None:
    numbers = itertools.count()

    @settings(max_examples=100, deadline=None)
    @given(st.lists(TEXTS.filter(bool), min_size=1, max_size=6), st.lists(TEXTS, min_size=1, max_size=3))
    @example(["abab abababa", "aba"], ["abab", "aba"])
    def check(texts: list[str], queries: list[str]) -> None:
        store.archive.add([archive(texts, key=str(next(numbers)))], source="")
        newest = store.logs.list(limit=1)[0].conversation
        for query in [*queries, texts[0]]:
            if split(query):
                found = find(store, query, conversation=newest.id)
                assert found == [text for text in reversed(texts) if holds(text, query)], query

    check()


WORDS = [
    *"\"'()*^:-+%_\\aé天🚀ﷺ \0\u2028\udcff",
    *("AND", "OR", "NOT", "NEAR(a b, 2)", "words:", "{words}", ";--", '""', '"a'),
]


def test_ten_thousand_random_queries_raise_nothing_else_than_that_they_are_empty(store: Store) -> None:
    said = "a b AND words 天 é 🚀 100% _ \\ ' \" * NEAR"
    say(store, said)
    draw = random.Random(1)
    for number in range(10_000):
        length = draw.randint(0, 8)
        signs = (draw.choice(WORDS) if draw.random() < 0.5 else chr(draw.randrange(0x110000)) for _ in range(length))
        query = "".join(signs)
        if not query.replace("\0", " ").strip():
            with pytest.raises(InvalidInput):
                store.search.find(query)
        elif number % 10 == 0:  # each would spend most of its time in making the same SQL
            for hit in store.search.find(query):
                assert all(0 <= start < end <= len(hit.snippet) for start, end in hit.spans)
        elif terms := parse_query(query):
            with store._database.read() as connection:
                match = "SELECT rowid FROM message_search WHERE message_search MATCH ?"
                connection.exec_driver_sql(match, (write_match(terms),)).all()


@pytest.mark.parametrize("query", ["", " ", "\n\t", "\0", " " * 5000 + "word"])
def test_a_query_that_holds_nothing_is_refused(store: Store, query: str) -> None:
    say(store, "word")
    with pytest.raises(InvalidInput, match="nothing to search for"):
        store.search.find(query)


def test_a_query_of_signs_reads_the_texts(store: Store) -> None:
    say(store, "is 50% enough?!")
    say(store, "100 a_b")
    assert find(store, "%") == ["is 50% enough?!"]
    assert find(store, "?!") == ["is 50% enough?!"]
    assert find(store, "_") == ["100 a_b"]
    (hit,) = store.search.find("?!")
    assert [hit.snippet[a:b] for a, b in hit.spans] == ["?!"]


def test_hits_come_newest_first_in_pages_and_name_their_place(store: Store) -> None:
    prompt = say(store, "needle one", title="first title")
    reply = answer(store, prompt, "a needle, two", model="small")
    last = say(store, "needle three", title="second title")
    hits = store.search.find("needle")
    assert [hit.message_id for hit in hits] == [last.id, reply.id, prompt.id]
    assert [hit.message_id for hit in store.search.find("needle", limit=1, offset=1)] == [reply.id]
    assert (hits[1].title, hits[1].role, hits[1].model) == ("first title", "assistant", "small")
    assert hits[1].created == store.messages.get(reply.id).created
    assert store.search.find_conversations("needle", LogFilter(), limit=5) == [
        last.conversation_id,
        prompt.conversation_id,
    ]
    assert store.search.find_conversations("needle", LogFilter(), limit=1, offset=1) == [prompt.conversation_id]


def test_the_bin_and_hidden_messages_are_kept_apart(store: Store) -> None:
    kept, binned = say(store, "needle kept"), say(store, "needle binned")
    reply = answer(store, kept, "needle hidden")
    store.conversations.change(binned.conversation_id, deleted=True)
    store.tree.drop(reply.id)
    assert find(store, "needle") == ["needle kept"]
    assert find(store, "needle", deleted=True) == ["needle binned"]


@pytest.mark.parametrize(
    ("content", "query", "hits"),
    [
        ("The Äpfel, äpfel and Apfelbaum", "apfel", ["Äpfel", "äpfel", "Apfel"]),
        ("The Äpfel, äpfel and Apfelbaum", '"äpfel"', ["Äpfel", "äpfel"]),
        ("x foo, bar x", '"foo bar"', ["foo, bar"]),
        ("今天天气怎么样", "(天气", ["天气"]),
        ("날씨가 어때", "날씨", ["날씨"]),
        ("İstanbul ﬁn", "stan", []),
        ("go 🚀!", "🚀", ["🚀"]),
        ("a.b", "b", ["b"]),
        ("قرأت كِتَابٌ", "كتاب", ["كِتَابٌ"]),
        ("אמר שָׁלוֹם", "שלום", ["שָׁלוֹם"]),
        ("cafe\u0301, ФЁДОР", "café федор", ["cafe\u0301", "ФЁДОР"]),
        ("Die Straße", "STRASSE", ["Straße"]),
    ],
)
def test_the_hits_in_a_snippet_are_marked(content: str, query: str, hits: list[str]) -> None:
    start, end, spans = cut_snippet(content, query, parse_query(query))
    assert [content[start:end][a:b] for a, b in spans] == hits


def test_a_snippet_is_cut_around_the_first_hit() -> None:
    content = "lead " * 100 + "needle " + "tail " * 100
    start, end, spans = cut_snippet(content, "needle", parse_query("needle"))
    assert content[start:end][spans[0][0] : spans[0][1]] == "needle"
    assert content[start - 1] == " "
    assert 100 < end - start < 300
    assert cut_snippet(content, "absent", parse_query("absent")) == (0, 120, ())


def test_spans_lie_within_the_snippet_whatever_the_text() -> None:
    @given(st.text(max_size=300), st.text(max_size=20))
    def check(content: str, query: str) -> None:
        try:
            terms = parse_query(query)
        except InvalidInput:
            return
        start, end, spans = cut_snippet(content, query, terms)
        assert 0 <= start <= end <= len(content)
        assert all(0 <= a < b <= end - start for a, b in spans)

    check()
