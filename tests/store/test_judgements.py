"""Ratings, tags, comments, preferences, corrections, decisions: what is kept, and what it amounts to."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select

from chatbot.errors import InvalidInput, NotFound
from chatbot.store.database import Store
from chatbot.store.judgement_tables import FeedbackRow
from chatbot.store.records import Message
from chatbot.store.reply_states import Judgement
from tests.store.sample import answer, say


@pytest.fixture
def store() -> Iterator[Store]:
    with Store.in_memory() as opened:
        yield opened


@pytest.fixture
def reply(store: Store) -> Message:
    return answer(store, say(store, "q"), "a", seed=7, sampling={"temperature": 0.5})


def count_preferences(store: Store) -> int:
    with store._database.read() as connection:
        return connection.scalar(select(func.count()).where(FeedbackRow.preferred_over_id.is_not(None))) or 0


def test_the_newest_word_on_each_question_counts(store: Store, reply: Message) -> None:
    assert store.judgements.get(reply.id) == Judgement()
    judged = store.judgements.say(reply.id, author="me", rating=-1, tags=["wrong", "too long"])
    assert judged.rating == -1
    store.judgements.say(reply.id, author="me", comment="no source")
    store.judgements.say(reply.id, author="you", rating=1)
    assert store.judgements.get(reply.id) == Judgement(1, ("wrong", "too long"), "no source")
    store.judgements.say(reply.id, author="me", rating=0, tags=[], comment="")
    assert store.judgements.get(reply.id) == Judgement()
    history = store.judgements.history(reply.id)
    assert [(one.author, one.rating, one.tags, one.comment) for one in history] == [
        ("me", -1, ("wrong", "too long"), None),
        ("me", None, None, "no source"),
        ("you", 1, None, None),
        ("me", 0, (), ""),
    ]


def test_each_judgement_keeps_what_wrote_the_reply(store: Store, reply: Message) -> None:
    store.judgements.say(reply.id, author="me", rating=-1)
    version = store.model_versions.find_or_add_base("other", sha256="", template_sha="", path="")
    store.replies.resume(reply, version, "new template", {"seed": 8})
    store.replies.finish(reply.id, "a, written on", "complete", "stop", {"seed": 8})
    store.judgements.decide([reply.id], "approve", author="me", note="now it is good")
    first, second = store.judgements.history(reply.id)
    (old,) = store.lineage.find_model("m")
    assert first.written_by == {
        "model": "m",
        "model_version_id": old,
        "template_sha": "template",
        "seed": 7,
        "sampling": {"temperature": 0.5},
    }
    assert second.written_by == {
        "model": "other",
        "model_version_id": version,
        "template_sha": "new template",
        "seed": 8,
    }
    assert (second.decision, second.note) == ("approve", "now it is good")


def test_a_decision_is_taken_back_and_may_be_made_for_many_at_once(store: Store, reply: Message) -> None:
    other = answer(store, say(store, "q"), "b")
    store.judgements.decide([reply.id, other.id], "approve", author="me")
    assert [store.messages.get(one.id).decision for one in (reply, other)] == ["approve"] * 2
    store.judgements.decide([reply.id], "withdraw", author="me")
    assert store.messages.get(reply.id).decision == ""
    with pytest.raises(NotFound):
        store.judgements.decide([reply.id, "nothing"], "reject", author="me")
    assert store.judgements.get(reply.id).decision == ""
    assert [one.decision for one in store.judgements.history(reply.id)] == ["approve", "withdraw"]


def test_a_correction_is_preferred_to_the_original_and_both_are_kept(store: Store, reply: Message) -> None:
    correction = store.judgements.correct(reply.id, "better", author="me", note="it was wrong")
    assert (correction.content, correction.model, correction.rating, correction.siblings) == ("better", "", 1, 2)
    assert correction.generation == {"author": "me", "corrects": reply.id}
    assert store.conversations.get(reply.conversation_id).tip == correction.id
    original = store.messages.get(reply.id)
    assert (original.content, original.decision, original.rating) == ("a", "reject", 0)
    (said,) = store.judgements.history(correction.id)
    assert said.preferred_over == reply.id
    assert said.written_by["author"] == "me"
    assert said.written_by["over"]["seed"] == 7
    assert store.judgements.history(reply.id)[0].note == "it was wrong"
    assert [hit.message_id for hit in store.search.find("better")] == [correction.id]
    assert count_preferences(store) == 1
    again = store.judgements.correct(correction.id, "best", author="you")
    assert again.siblings == 3
    assert store.messages.get(correction.id).decision == "reject"
    assert store.verify() == []


def test_a_correction_of_what_was_answered_since_stays_off_the_screen(store: Store, reply: Message) -> None:
    follow_up = say(store, "and then?", reply.conversation_id)
    store.judgements.correct(reply.id, "better", author="me")
    assert store.conversations.get(reply.conversation_id).tip == follow_up.id


@pytest.mark.parametrize("content", ["", " \n", "a"])
def test_a_correction_that_says_nothing_new_is_refused(store: Store, reply: Message, content: str) -> None:
    with pytest.raises(InvalidInput):
        store.judgements.correct(reply.id, content, author="me")
    assert store.judgements.history(reply.id) == []
    assert store.messages.get(reply.id).siblings == 1


def test_prompts_and_replies_that_grow_are_not_judged(store: Store) -> None:
    prompt = say(store, "q")
    version = store.model_versions.find_or_add_base("m", sha256="", template_sha="", path="")
    growing = store.replies.start(store.replies.new_id(), prompt.id, version, "", {})
    whole = answer(store, prompt, "a")
    for message_id, why in ((prompt.id, "prompt"), (growing.id, "still being written")):
        with pytest.raises(InvalidInput, match=why):
            store.judgements.say(message_id, author="me", rating=1)
        with pytest.raises(InvalidInput, match=why):
            store.judgements.decide([message_id], "approve", author="me")
        with pytest.raises(InvalidInput, match=why):
            store.judgements.correct(message_id, "better", author="me")
    for pair in ((growing.id, whole.id), (whole.id, growing.id)):
        with pytest.raises(InvalidInput, match="still being written"):
            store.judgements.prefer(pair[0], [pair[1]], author="me")
    with pytest.raises(InvalidInput, match="same message"):
        store.judgements.prefer(whole.id, [answer(store, say(store, "q"), "b").id], author="me")
    assert count_preferences(store) == 0


def test_going_on_from_a_sibling_prefers_it_once_to_each_other_whole_reply(store: Store, reply: Message) -> None:
    prompt = store.messages.get(reply.parent_id or "")
    second = answer(store, prompt, "b")
    cut = answer(store, prompt, "c", status="stopped")
    store.judgements.go_on_from(second.id, author="me")
    store.judgements.go_on_from(second.id, author="me")
    store.judgements.go_on_from(reply.id, author="me")  # the pair was judged: nobody asked to change that
    store.judgements.go_on_from(cut.id, author="me")
    (said,) = store.judgements.history(second.id)
    assert (said.preferred_over, said.rating, said.tags) == (reply.id, None, None)
    assert said.written_by["implied"] is True
    assert said.written_by["over"]["model"] == "m"
    assert count_preferences(store) == 1
    third = answer(store, prompt, "d")
    store.judgements.go_on_from(third.id, author="me")
    assert {one.preferred_over for one in store.judgements.history(third.id)} == {reply.id, second.id}
    store.judgements.prefer(reply.id, [third.id, reply.id], author="me")  # said aloud it counts again
    assert count_preferences(store) == 4


def test_going_on_beside_a_reply_that_is_still_written_compares_the_others(store: Store, reply: Message) -> None:
    prompt = store.messages.get(reply.parent_id or "")
    chosen = answer(store, prompt, "b")
    version = store.model_versions.find_or_add_base("m", sha256="", template_sha="", path="")
    store.replies.start(store.replies.new_id(), prompt.id, version, "", {})
    store.judgements.go_on_from(chosen.id, author="me")
    assert [one.preferred_over for one in store.judgements.history(chosen.id)] == [reply.id]


def test_going_on_from_the_only_reply_or_from_a_prompt_says_nothing(store: Store, reply: Message) -> None:
    store.judgements.go_on_from(reply.id, author="me")
    store.replies.add_edited(reply.parent_id or "", "q2")
    store.judgements.go_on_from(reply.parent_id or "", author="me")
    assert count_preferences(store) == 0


def test_two_that_tag_at_once_lose_nothing(store: Store, reply: Message) -> None:
    def tag(name: str) -> None:
        for number in range(8):
            store.judgements.change_tags(reply.id, [f"{name}{number}"], [], author=name)

    with ThreadPoolExecutor() as threads:
        list(threads.map(tag, "ab"))
    assert len(store.judgements.get(reply.id).tags) == 16


def test_tags_are_changed_within_their_bounds(store: Store, reply: Message) -> None:
    store.judgements.change_tags(reply.id, [" a ", "b"], [], author="me")
    store.judgements.change_tags(reply.id, ["b", "c"], ["a", "absent"], author="me")
    assert store.judgements.get(reply.id).tags == ("b", "c")
    store.judgements.change_tags(reply.id, ["b"], ["absent"], author="me")
    assert len(store.judgements.history(reply.id)) == 2
    for tags in (["x" * 41], ["\x1b"], [str(number) for number in range(19)]):
        with pytest.raises(InvalidInput):
            store.judgements.change_tags(reply.id, tags, [], author="me")
        with pytest.raises(InvalidInput):
            store.judgements.say(reply.id, author="me", rating=1, add_tags=tags)
    assert store.judgements.get(reply.id) == Judgement(tags=("b", "c"))


def test_a_rating_that_is_given_twice_is_taken_back(store: Store, reply: Message) -> None:
    toggled = [store.judgements.toggle_rating(reply.id, rating, author="me") for rating in (1, -1, -1)]
    assert [(said.rating, before) for said, before in toggled] == [(1, 0), (-1, 1), (0, -1)]


def test_only_a_correction_is_taken_back_as_one(store: Store, reply: Message) -> None:
    with pytest.raises(InvalidInput, match="corrects none"):
        store.judgements.take_back_correction(reply.id, "", author="me")


def test_a_judgement_keeps_the_whole_sampling_not_only_what_was_set(store: Store) -> None:
    drawn = {"temperature": 0.7, "top_p": 0.9, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}
    reply = answer(
        store, say(store, "q"), "a", seed=7, sampling={"temperature": 0.2, "max_tokens": 9}, drawn_with=drawn
    )
    store.judgements.say(reply.id, author="me", rating=1)
    [said] = store.judgements.history(reply.id)
    assert said.written_by["sampling"] == {**drawn, "temperature": 0.2, "max_tokens": 9}


def test_the_same_correction_twice_is_one(store: Store, reply: Message) -> None:
    store.judgements.correct(reply.id, "as it should be", author="me", approve=True)
    with pytest.raises(InvalidInput, match="already"):
        store.judgements.correct(reply.id, "as it should be", author="me", approve=True)
    assert store.review_queue.progress().approved == 1
