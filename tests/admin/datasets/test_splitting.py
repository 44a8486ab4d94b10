"""What is held out, and that it stays so."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from chatbot.admin.datasets.splitting import split_groups

GROUPS = [f"text:{number}" for number in range(2000)]


def test_the_shares_are_about_those_asked_for() -> None:
    splits = Counter(split_groups(GROUPS, {}, validation=0.1, test=0.2).splits.values())
    assert 160 <= splits["validation"] <= 240
    assert 340 <= splits["test"] <= 460


def test_a_group_is_where_it_is_whatever_stands_beside_it() -> None:
    whole = split_groups(GROUPS, {}, validation=0.1, test=0.1).splits
    part = split_groups(GROUPS[700:40:-3], {}, validation=0.1, test=0.1).splits
    assert part.items() <= whole.items()


def test_a_larger_share_keeps_what_was_held_out() -> None:
    small = split_groups(GROUPS, {}, validation=0.0, test=0.1).splits
    large = split_groups(GROUPS, {}, validation=0.0, test=0.3).splits
    assert {group for group in GROUPS if small[group] == "test"} < {group for group in GROUPS if large[group] == "test"}


def test_what_earlier_versions_did_is_remembered() -> None:
    earlier = {"a": {"test"}, "b": {"train"}, "c": {"train", "validation"}, "d": {"validation", "test"}}
    done = split_groups(list("abcd"), earlier, validation=0.5, test=0.4)
    assert done.splits == {"a": "test", "b": "train", "c": "validation", "d": "test"}
    assert (done.remembered, done.united) == (4, 1)


@given(st.lists(st.text(max_size=5), min_size=2, max_size=8, unique=True))
def test_few_groups_still_train_and_validate(groups: list[str]) -> None:
    splits = split_groups(groups, {}, validation=0.1, test=0.1).splits
    assert {"train", "validation"} <= set(splits.values())
    assert set(splits) == set(groups)


@given(
    st.lists(st.text(max_size=5), min_size=2, max_size=8, unique=True),
    st.dictionaries(st.text(max_size=5), st.sets(st.sampled_from(["train", "validation", "test"]), min_size=1)),
)
def test_nothing_that_was_held_out_is_ever_trained_on(groups: list[str], earlier: dict[str, set[str]]) -> None:
    splits = split_groups(groups, earlier, validation=0.1, test=0.1).splits
    for group, known in earlier.items():
        if group in splits:
            assert splits[group] in known
            assert splits[group] != "train" or known == {"train"}


def test_one_group_trains_unless_its_hash_holds_it_out() -> None:
    assert set(split_groups(["text:1"], {}, validation=0.0, test=0.0).splits.values()) == {"train"}
