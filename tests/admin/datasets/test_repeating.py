"""A recipe is followed again if it was written here and means something."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from chatbot.admin.datasets.forgetting import forget
from chatbot.admin.datasets.freezing import open_version
from chatbot.admin.datasets.moving import export_version, import_version
from chatbot.admin.datasets.repeating import repeat_request
from chatbot.admin.datasets.request import BuildRequest
from chatbot.config import Home
from chatbot.errors import DatasetDamaged
from chatbot.store.database import Store
from chatbot.store.datasets import DatasetVersion
from chatbot.store.filters import LogFilter
from tests.admin.datasets.conftest import Build
from tests.admin.datasets.samples import make_pairs, talk


@pytest.fixture
def last(make: Build, store: Store) -> DatasetVersion:
    for asked, answered in make_pairs(6):
        talk(store, asked, answered, decisions="+")
    make()
    return store.datasets.find("talks")


def repeat(last: DatasetVersion | None, **more: Any) -> BuildRequest | None:
    if last is not None and more:
        last = replace(last, recipe={**last.recipe, **more})
    return repeat_request("talks", last, system="Be kind.", names=("Ada",))


def test_a_recipe_of_this_machine_is_followed_to_the_letter(make: Build, last: DatasetVersion, store: Store) -> None:
    asked = LogFilter(since=datetime(2026, 1, 2, 3, tzinfo=UTC), state="approved", rating="up")
    request = BuildRequest("talks", "sft", log=asked, system="x", redact=True, names=("Ada",), near=2.0, cap=9, seed=3)
    assert repeat_request("talks", replace(last, recipe=request.recipe), system="y", names=("Ada",)) == request
    first = repeat(None)
    assert first is not None
    assert (first.system, first.replay, first.redact) == ("Be kind.", 0.2, False)
    assert repeat(last, files=["me.json"]) is None


def test_what_was_imported_is_taken_as_it_is(
    last: DatasetVersion, store: Store, home: Home, tmp_path: Path, make: Build
) -> None:
    assert repeat(last) is not None
    archive = tmp_path / "talks.zip"
    export_version(open_version(store, home, "talks")[1], archive)
    import_version(store, home, archive, name="theirs")
    theirs = store.datasets.find("theirs")
    assert theirs.imported
    assert repeat(theirs) is None
    # It stays so when something in it is forgotten, and ends with a version that is built here.
    conversation = next(item.conversation for item in store.datasets.items(theirs.id))
    store.erasure.forget([conversation])
    assert forget(store, home, [conversation]).failure is None
    struck = store.datasets.find("theirs")
    assert (struck.counts["struck"], struck.imported) == (1, True)
    talk(store, "something altogether new", "indeed", decisions="+")
    make("theirs")
    assert not store.datasets.find("theirs").imported
    assert repeat(store.datasets.find("theirs")) is not None


@pytest.mark.parametrize(
    "more",
    [
        {"near": "x"},
        {"near": -1},
        {"cap": 1.5},
        {"kind": "\x1b[2J"},
        {"fill": 3},
        {"redact": {}},
        {"replay": 7},
        {"log": {"since": "x"}},
        {"log": {"since": []}},
        {"log": {"rating": "sideways"}},
        {"log": {"text": ["a"]}},
        {"log": {"deleted": "perhaps"}},
    ],
)
def test_a_recipe_that_makes_no_sense_is_an_error_that_says_so(last: DatasetVersion, more: dict[str, Any]) -> None:
    with pytest.raises(DatasetDamaged, match="The recipe of talks/1 cannot be followed") as told:
        repeat(last, **more)
    assert "--no-rebuild" in told.value.hint
    assert "\x1b" not in str(told.value)
