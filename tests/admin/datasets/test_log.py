"""Which replies of the log are learnt, compared, labelled."""

from __future__ import annotations

from collections import Counter
from typing import Any

from chatbot.admin.datasets.drafts import Draft
from chatbot.admin.datasets.log import OUTDONE, read_log
from chatbot.admin.datasets.talks import draft_items
from chatbot.logs.training_use import RATED_DOWN
from chatbot.store.archive_records import ArchivedConversation, ArchivedMessage, ArchivedReview
from chatbot.store.database import Store
from chatbot.store.filters import LogFilter
from tests.admin.datasets.samples import talk
from tests.store.sample import answer, say


def draft_all(
    store: Store, kind: Any = "sft", asked: LogFilter | None = None, *, unreviewed: bool = False
) -> tuple[list[Draft], Counter[str]]:
    left_out: Counter[str] = Counter()
    talks = read_log(store, asked or LogFilter(), unreviewed=unreviewed)
    return [draft for one in talks for draft in draft_items(one, kind, left_out)], left_out


def list_learnt(drafts: list[Draft]) -> list[str]:
    return [turn.content for draft in drafts for turn in draft.turns if turn.learn]


def test_only_approved_replies_are_learnt_and_the_others_are_context(store: Store) -> None:
    said = talk(store, "hi", "hello", "more?", "yes", "bye", "ciao", decisions="+ +")
    drafts, left_out = draft_all(store)
    assert [(turn.role, turn.content, turn.learn) for turn in drafts[0].turns] == [
        ("system", "", False),
        ("user", "hi", False),
        ("assistant", "hello", True),
        ("user", "more?", False),
        ("assistant", "yes", False),
        ("user", "bye", False),
        ("assistant", "ciao", True),
    ]
    assert drafts[0].messages == ((), *((one.id,) for one in said))
    assert left_out == {"nobody has approved it yet": 1}


def test_what_was_approved_but_rated_down_carries_no_loss_and_is_a_bad_label(store: Store) -> None:
    said = talk(store, "hi", "hello", "more?", "yes", decisions="++", ratings="-")
    (draft,), left_out = draft_all(store)
    assert [(turn.content, turn.learn) for turn in draft.turns[2::2]] == [("hello", False), ("yes", True)]
    assert left_out == {RATED_DOWN: 1}
    labels, _ = draft_all(store, "label")
    assert {one.answers[0]: one.good for one in labels} == {"hello": False, "yes": True}
    store.judgements.correct(said[1].id, "good day", author="me", approve=True)
    assert sorted(list_learnt(draft_all(store)[0])) == ["good day", "yes"]


def test_what_was_approved_but_outdone_carries_no_loss_and_is_a_bad_label(store: Store) -> None:
    prompt = say(store, "hi")
    first, second, third = (answer(store, prompt, text) for text in ("one", "two", "three"))
    store.judgements.prefer(first.id, [second.id], author="me")
    store.judgements.prefer(second.id, [third.id], author="me")
    store.judgements.decide([first.id, second.id, third.id], "approve", author="me")
    drafts, left_out = draft_all(store)
    assert (list_learnt(drafts), left_out) == (["one"], {OUTDONE: 2})
    labels, _ = draft_all(store, "label")
    assert {one.answers[0]: one.good for one in labels} == {"one": True, "two": False, "three": False}
    # Of two that are both outdone one is still the better.
    pairs, _ = draft_all(store, "preference")
    assert sorted(one.answers for one in pairs) == [("one", "two"), ("two", "three")]


def test_to_go_on_from_another_reply_is_no_judgement_but_not_to_be_learnt_either(store: Store) -> None:
    prompt = say(store, "hi")
    left, chosen = answer(store, prompt, "one"), answer(store, prompt, "two")
    store.judgements.go_on_from(chosen.id, author="me")
    store.judgements.decide([left.id, chosen.id], "approve", author="me")
    assert list_learnt(draft_all(store)[0]) == ["two"]
    labels, left_out = draft_all(store, "label")
    assert ([one.answers[0] for one in labels], left_out) == (["two"], {OUTDONE: 1})


def test_a_correction_that_was_taken_back_outdoes_nothing(store: Store) -> None:
    said = talk(store, "2 + 2?", "four", decisions="+")
    correction = store.judgements.correct(said[1].id, "4", author="me", approve=True)
    store.judgements.take_back_correction(correction.id, "approve", author="me")
    assert list_learnt(draft_all(store)[0]) == ["four"]


def test_nothing_is_made_of_a_conversation_that_nobody_reviewed(store: Store) -> None:
    talk(store, "hi", "hello", ratings="+")
    assert draft_all(store)[0] == []


def test_a_reply_on_several_branches_is_learnt_once(store: Store) -> None:
    first = talk(store, "hi", "hello", decisions="+")
    prompt = say(store, "and?", first[0].conversation_id)
    replies = [answer(store, prompt, text) for text in ("one", "two", "three")]
    store.judgements.decide([replies[0].id, replies[1].id], "approve", author="me")
    drafts, left_out = draft_all(store)
    assert sorted(list_learnt(drafts)) == ["hello", "one", "two"]
    assert [len(draft.turns) for draft in drafts] == [5, 5]
    assert {draft.identity for draft in drafts} == {first[0].conversation_id}
    assert left_out == {"nobody has approved it yet": 1}


def test_a_correction_is_learnt_and_preferred_to_what_it_corrects(store: Store) -> None:
    said = talk(store, "2 + 2?", "5")
    corrected = store.judgements.correct(said[1].id, "4", author="me", approve=True)
    assert list_learnt(draft_all(store)[0]) == ["4"]
    (pair,), _ = draft_all(store, "preference")
    assert (pair.prompt, pair.answers) == ("2 + 2?", ("4", "5"))
    assert pair.answer_messages == (corrected.id, said[1].id)
    labels, _ = draft_all(store, "label")
    assert {(one.answers[0], one.good) for one in labels} == {("4", True), ("5", False)}


def test_a_preference_teaches_once_its_better_reply_is_approved(store: Store) -> None:
    prompt = say(store, "hi")
    better, worse = answer(store, prompt, "hello"), answer(store, prompt, "what")
    store.judgements.prefer(better.id, [worse.id], author="me")
    drafts, left_out = draft_all(store, "preference")
    assert (drafts, left_out) == ([], {"nobody has approved it yet": 1})
    assert len(draft_all(store, "preference", unreviewed=True)[0]) == 1
    store.judgements.prefer(worse.id, [better.id], author="me")  # the newest word counts
    store.judgements.decide([better.id, worse.id], "approve", author="me")
    assert [one.answers for one in draft_all(store, "preference")[0]] == [("what", "hello")]
    store.judgements.decide([worse.id], "reject", author="me")
    assert draft_all(store, "preference", unreviewed=True)[1] == {"rejected": 1}


def test_labels_come_from_decisions_and_thumbs(store: Store) -> None:
    talk(
        store, "a", "approved", "b", "rejected", "c", "down", "d", "up", "e", "nothing", decisions="+-", ratings="  -+"
    )
    drafts, left_out = draft_all(store, "label")
    assert {one.answers[0]: one.good for one in drafts} == {"approved": True, "rejected": False, "down": False}
    assert left_out == {"nobody has approved it yet": 2}
    drafts, _ = draft_all(store, "label", unreviewed=True)
    assert {one.answers[0]: one.good for one in drafts}["up"] is True


def test_a_redacted_reply_waits_for_a_new_look(store: Store) -> None:
    said = talk(store, "hi", "hello", decisions="+")
    store.judgements.decide([said[1].id], "redact", author="me")
    for kind in ("sft", "label"):
        drafts, left_out = draft_all(store, kind, unreviewed=True)
        assert (drafts, list(left_out)) == ([], ["redacted since it was looked at, not yet approved"])


def test_the_bin_is_not_learnt(store: Store) -> None:
    said = talk(store, "hi", "hello", decisions="+")
    store.conversations.change(said[0].conversation_id, deleted=True)
    assert draft_all(store)[0] == []
    assert draft_all(store, asked=LogFilter(deleted=True))[1] == {"its conversation is in the bin": 1}


def test_a_filter_of_replies_limits_which_are_learnt(store: Store) -> None:
    said = talk(store, "a", "one", "b", "two", decisions="++", ratings="+")
    assert list_learnt(draft_all(store, asked=LogFilter(rating="up"))[0]) == ["one"]
    store.judgements.say(said[3].id, author="me", tags=["good"])
    assert list_learnt(draft_all(store, asked=LogFilter(tag="good"))[0]) == ["two"]
    assert list_learnt(draft_all(store, asked=LogFilter(model="other"))[0]) == []


def test_hidden_messages_are_passed_over(store: Store) -> None:
    key = store.replies.new_id()
    messages = (
        ArchivedMessage("1", None, "user", "hi"),
        ArchivedMessage("2", "1", "assistant", "dropped", hidden=True),
        ArchivedMessage("3", "2", "user", "again"),
        ArchivedMessage("4", "3", "assistant", "hello", reviews=(ArchivedReview("approve"),)),
    )
    store.archive.add([ArchivedConversation(key, messages, system_prompt="Be kind.", title="t")], source="test")
    (draft,), _ = draft_all(store)
    assert [turn.content for turn in draft.turns] == ["Be kind.", "hi\n\nagain", "hello"]
    assert [len(keys) for keys in draft.messages] == [0, 2, 1]


def test_a_reply_without_a_prompt_is_left_out(store: Store) -> None:
    key = store.replies.new_id()
    messages = (ArchivedMessage("1", None, "assistant", "hello", reviews=(ArchivedReview("approve"),)),)
    store.archive.add([ArchivedConversation(key, messages, title="t")], source="test")
    assert draft_all(store) == ([], {"it answers no prompt": 1})


def test_a_talk_of_thousands_of_turns_is_read(store: Store) -> None:
    count = 3000
    messages = [
        ArchivedMessage(
            str(place),
            str(place - 1) if place else None,
            "assistant" if place % 2 else "user",
            f"text {place}",
            reviews=(ArchivedReview("approve"),) if place % 2 else (),
        )
        for place in range(count)
    ]
    store.archive.add([ArchivedConversation("key", tuple(messages), title="t")], source="test")
    (draft,), _ = draft_all(store)
    assert len(list_learnt([draft])) == count // 2
