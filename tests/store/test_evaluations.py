"""Rows of evaluations: what people say of two models, and what is kept of what they said."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from chatbot.store.database import Store
from chatbot.store.evaluations import GATE, Score
from tests.store.sample import answer, say
from tests.store.test_aliases import add_adapter, add_base


@pytest.fixture
def store() -> Iterator[Store]:
    with Store.in_memory() as opened:
        yield opened


def score(suite: str, *items: tuple[str, str, dict[str, Any]]) -> Score:
    return Score(suite, "1", "m", 1.0, 0.0, None, len(items), items)


def test_of_each_two_replies_the_newest_word_counts(store: Store) -> None:
    for number in range(3):
        prompt = say(store, f"question {number}")
        own, other = answer(store, prompt, "a", model="own"), answer(store, prompt, "b", model="other")
        store.judgements.prefer(own.id, [other.id], author="me")
        store.judgements.prefer(own.id, [other.id], author="you")
        if number:
            store.judgements.prefer(other.id, [own.id], author="me")
    own_id, other_id = (
        store.model_versions.find_or_add_base(one, sha256="", template_sha="", path="") for one in ("own", "other")
    )
    assert store.evaluations.ask_people(own_id, other_id).wins == (1, 2)
    assert store.evaluations.ask_people(other_id, own_id).wins == (2, 1)


def test_a_forgotten_text_goes_whoever_gave_it_but_never_a_verdicts_reason(store: Store) -> None:
    candidate, base = add_adapter(store, "one"), add_base(store)
    replies = score(
        "replies", ("secret", "a", {}), ("b", "secret", {}), ("c", "d", {"champion": "secret"}), ("e", "f", {})
    )
    reasons = score(GATE, ("better", "secret", {}), ("secret", "it is likelier", {}))
    store.evaluations.add(store.evaluations.new_id(), candidate, base, [replies, reasons])
    assert store.evaluations.forget_texts(["secret", "better", *map(str, range(500))]) == 3
    decision = store.evaluations.decision(candidate, base)
    assert decision is not None
    assert decision.reasons == ("secret", "it is likelier")
