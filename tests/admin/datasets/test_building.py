"""Building versions: what goes in, that it is frozen, and that it can be done again."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chatbot.admin.datasets.building import build
from chatbot.admin.datasets.examining import EXAMINED
from chatbot.admin.datasets.folder import DatasetFolder
from chatbot.admin.datasets.freezing import delete_version, list_numbers, open_version
from chatbot.admin.datasets.items import SPLITS, Item, PreferenceItem, SftItem, hash_content
from chatbot.admin.datasets.request import BuildRequest, parse_title
from chatbot.admin.evaluation.suites import list_suite_prompts
from chatbot.config import Home
from chatbot.errors import DatasetDamaged, InvalidInput, LearningError, NotFound
from chatbot.files import hash_file
from chatbot.models.library import ModelFolder
from chatbot.models.template import ChatTemplate
from chatbot.store.database import Store
from chatbot.store.filters import LogFilter
from chatbot.store.migrations import open_upgraded
from tests.admin.datasets.conftest import Build
from tests.admin.datasets.samples import make_pairs, talk, write_alpaca, write_labels, write_pairs


def read_all(folder: DatasetFolder) -> dict[str, list[Item]]:
    return {split: list(folder.read(split)) for split in SPLITS}


def place(folder: DatasetFolder) -> dict[str, str]:
    """Where each prompt stands."""
    return {
        next(turn.content for turn in item.turns if turn.role == "user"): split
        for split, items in read_all(folder).items()
        for item in items
    }


def test_a_version_names_the_messages_of_every_item(make: Build, store: Store, base: ModelFolder, home: Home) -> None:
    said = talk(store, "hi", "hello", "more?", "yes", decisions="++")
    other = talk(store, "an altogether different matter", "indeed it is", decisions="+")
    folder = make()
    assert folder.path == home.datasets / "talks" / "1"
    assert DatasetFolder.open(folder.path).manifest == folder.manifest
    manifest = folder.manifest
    assert (manifest.model, manifest.template_sha256) == ("tiny", base.template_sha)
    assert manifest.tokenizer_sha256 == hash_file(base.path / "tokenizer.json")
    items = [item for own in read_all(folder).values() for item in own]
    assert {item.messages_from for item in items} == {tuple(one.id for one in said), tuple(one.id for one in other)}
    version = store.datasets.find("talks")
    assert (version.sha256, version.counts) == (manifest.sha256, manifest.counts)
    rows = store.datasets.items(version.id)
    assert [(row.content_sha, row.conversation, set(row.messages)) for row in rows] == [
        (hash_content(item), item.conversation, set(item.messages_from)) for item in items
    ]
    assert store.lineage.of_messages([said[1].id]).datasets[0].name == "talks"
    assert manifest.counts["replies"] == {"train": 2, "validation": 1, "test": 0} or manifest.counts["replies"] == {
        "train": 1,
        "validation": 2,
        "test": 0,
    }


def test_the_same_build_makes_no_new_version_and_another_the_next_number(
    make: Build, store: Store, file: Path, home: Home
) -> None:
    first = make(files=(file,))
    assert make(files=(file,)).manifest.number == 1
    assert [one.number for one in store.datasets.versions("talks")] == [1]
    assert make(files=(file,), system="Be kind.").manifest.number == 2
    assert make(files=(file,)).manifest.number == 3  # the newest is what is compared with
    assert store.datasets.find("talks", 3).sha256 == first.manifest.sha256
    assert list_numbers(home, "talks") == [1, 2, 3]


def test_a_dataset_keeps_its_kind(make: Build, file: Path, tmp_path: Path, home: Home) -> None:
    make(files=(file,))
    pairs = write_pairs(tmp_path / "p.json", [("hi", "hello", "no"), ("how are you?", "well", "bad")])
    with pytest.raises(InvalidInput, match="is of the kind sft"):
        make(kind="preference", files=(pairs,))
    assert list_numbers(home, "talks") == [1]


def test_no_group_stands_in_two_splits(make: Build, tmp_path: Path, store: Store) -> None:
    for number, (asked, answered) in enumerate(make_pairs(30)):
        talk(store, asked, answered, f"{answered} {number}?", "indeed", decisions="++")
        if number % 3 == 0:
            talk(store, asked.upper(), f"another {answered} altogether, {number}", decisions="+")
    items = read_all(make(validation=0.3, test=0.3))
    groups = {split: {item.group for item in own} for split, own in items.items()}
    assert all(groups.values())
    assert not groups["train"] & groups["validation"] | groups["train"] & groups["test"]
    assert not groups["validation"] & groups["test"]
    conversations = {split: {item.conversation for item in own} for split, own in items.items()}
    assert not conversations["train"] & (conversations["validation"] | conversations["test"])
    assert sum(len(own) for own in items.values()) == 40


def test_what_was_held_out_once_is_held_out_for_ever(make: Build, tmp_path: Path) -> None:
    first = place(make("one", files=(write_alpaca(tmp_path / "a.json", make_pairs(60)),), validation=0.2, test=0.2))
    # Other answers, other shares, another name.
    changed = [(asked.lower(), answered + " Really.") for asked, answered in make_pairs(90)]
    second = make("two", files=(write_alpaca(tmp_path / "b.json", changed),), validation=0.02, test=0.02)
    again = {asked.casefold(): split for asked, split in place(second).items()}
    assert {asked.casefold(): split for asked, split in first.items()}.items() <= again.items()
    assert second.manifest.counts["split"]["united"] == 0
    assert 50 <= second.manifest.counts["split"]["remembered"] <= 60


def test_what_was_held_out_is_known_though_its_group_lost_the_member_that_named_it(make: Build, tmp_path: Path) -> None:
    alike = [f"Please tell me a long story about the number {n}, will you?" for n in range(30)]
    pairs = [(asked, f"Once {n * 37} upon {n * 91} a time {n}.") for n, asked in enumerate(alike)]
    first = make("one", files=(write_alpaca(tmp_path / "a.json", pairs),), validation=0.0, test=0.99)
    assert set(place(first).values()) == {"test"}
    for n, asked in enumerate(alike[::5]):
        path = write_alpaca(tmp_path / f"{n}.json", [(f"{asked} Thanks.", "No."), ("An apple?", "Yes, a fruit.")])
        assert place(make(f"next{n}", files=(path,), validation=0.0, test=0.0))[f"{asked} Thanks."] == "test"


def test_a_group_that_unites_what_was_trained_on_and_held_out_is_held_out(make: Build, tmp_path: Path) -> None:
    words = [f"word{n * n}" for n in range(42)]
    held, trained, between = (" ".join(words[start : start + 30]) for start in (0, 12, 6))
    for name, asked, test in (("one", held, 0.99), ("two", trained, 0.0)):
        make(name, files=(write_alpaca(tmp_path / "f.json", [(asked, "Yes.")]),), validation=0.0, test=test)
    path = write_alpaca(tmp_path / "f.json", [(trained, "a"), (between, "b"), ("An apple?", "Yes.")])
    folder = make("three", files=(path,), validation=0.0, test=0.0)
    assert place(folder) == {trained: "test", between: "test", "An apple?": "train"}
    assert folder.manifest.counts["split"]["united"] == 1
    assert folder.manifest.taught == {next(item.group for item in folder.read("test"))}
    assert make("four", files=(path,), cap=2).manifest.taught == folder.manifest.taught


def test_general_rows_make_up_their_share_of_train_and_a_few_are_held_out_for_ever(make: Build, file: Path) -> None:
    folder = make(files=(file,), replay=0.25)
    items = read_all(folder)
    general = {split: [item for item in own if item.source == "replay:general"] for split, own in items.items()}
    assert abs(len(general["train"]) - len(items["train"]) / 4) <= 1
    assert 1 <= len(general["validation"]) <= 3
    assert 1 <= len(general["test"]) <= 3
    held = len(general["validation"]) + len(general["test"])
    assert folder.manifest.counts["replay"] == {
        "wanted": len(general["train"]),
        "taken": len(general["train"]),
        "held": held,
    }
    assert make(files=(file,), replay=0.25).manifest.number == 1
    other = place(make("other", files=(file,), replay=0.9, seed=7))
    for split in ("validation", "test"):
        asked = [item.turns[1].content for item in general[split]]
        assert {other.get(one, split) for one in asked} == {split}


def test_a_general_row_like_what_another_dataset_holds_out_is_not_trained_on(make: Build, tmp_path: Path) -> None:
    asked = [f"Please tell me all that is known of the {word}, will you?" for word in ("bridge", "candle", "desert")]
    held = write_alpaca(tmp_path / "a.json", [(one, f"Much of {n}.") for n, one in enumerate(asked)])
    make("one", files=(held,), validation=0.0, test=0.99)
    general = write_alpaca(tmp_path / "b.json", [(f"{one} Thanks.", f"Nothing {n}.") for n, one in enumerate(asked)])
    own = write_alpaca(tmp_path / "c.json", make_pairs(30))
    folder = make("two", files=(own,), validation=0.0, test=0.0, replay=0.5, replay_file=general)
    assert folder.manifest.counts["replay"]["taken"] == 0


def test_general_rows_never_teach_what_is_held_out(make: Build, file: Path) -> None:
    folder = make(files=(file,), replay=0.5, replay_file=file)
    assert folder.manifest.counts["replay"] == {"wanted": len(list(folder.read("train"))), "taken": 0, "held": 0}


def test_our_own_general_rows_are_read_whole(make: Build, file: Path) -> None:
    counts = make(files=(file,), replay=0.9).manifest.counts
    read = counts["read"]["files"]["general.jsonl"]
    assert read["records"] >= 60
    assert read["skipped"] == {}
    assert counts["left_out"].get(EXAMINED, 0) == 0
    assert read["records"] * 0.7 <= counts["replay"]["taken"] <= read["records"]
    assert counts["replay"]["held"] >= 5
    assert {"en", "zh"} <= set(counts["languages"])


def test_what_the_evaluation_suites_ask_is_not_trained_on(make: Build, store: Store, tmp_path: Path) -> None:
    asked = list_suite_prompts()[:5]
    pairs = [(f"{one}!", f"Answer {n}.") for n, one in enumerate(asked)]
    path = write_alpaca(tmp_path / "f.json", [*pairs, *make_pairs(10)])
    folder = make(files=(path,), replay=0.5, replay_file=path)
    assert folder.manifest.counts["left_out"][EXAMINED] == 10
    assert not {one for one in place(folder) if one.removesuffix("!") in asked}
    talk(store, "hello there", "hi", asked[0], "the answer", "and a pear?", "a fruit", decisions="+++")
    (item,) = [one for own in read_all(make("log")).values() for one in own]
    assert [(turn.content, turn.learn) for turn in item.turns[2::2]] == [
        ("hi", True),
        ("the answer", False),
        ("a fruit", True),
    ]


def test_what_was_approved_and_rated_down_is_told(make: Build, store: Store) -> None:
    talk(store, "hi", "hello", "more?", "yes", decisions="++", ratings="-")
    counts = make().manifest.counts
    assert counts["contradicted"] == {"approved but rated down": 1}
    assert counts["left_out"]["approved but rated down"] == 1
    assert sum(counts["replies"].values()) == 1


def test_exchanges_that_are_alike_fall_on_one_side_wherever_they_stand(make: Build, store: Store) -> None:
    question, reply = (
        "Which bridge in the old harbour is the longest of all?",
        "The longest is the one of the north gate.",
    )
    for number, (asked, answered) in enumerate(make_pairs(24)):
        if number % 2:
            talk(store, asked, answered, f"{question} ({number})", f"{reply} {number}", decisions="++")
        else:
            talk(store, f"{question} [{number}]", f"{reply} {number}.", decisions="+")
    items = read_all(make(near=2.0))
    assert len({item.group for own in items.values() for item in own}) == 1


def test_a_damaged_version_is_built_anew_under_the_next_number(
    make: Build, store: Store, home: Home, file: Path
) -> None:
    first = make(files=(file,))
    (first.path / "train.jsonl").unlink()
    second = make(files=(file,))
    assert (second.manifest.number, second.manifest.sha256) == (2, first.manifest.sha256)
    assert second.manifest.counts["replaces"] == 1
    (second.path / "manifest.json").write_text("{")
    assert make(files=(file,)).manifest.number == 3
    delete_version(store, home, store.datasets.find("talks", 2))
    assert list_numbers(home, "talks") == [1, 3]


def test_what_a_deleted_version_held_out_stays_held_out(make: Build, store: Store, home: Home, tmp_path: Path) -> None:
    path = write_alpaca(tmp_path / "f.json", make_pairs(10))
    first = place(make(files=(path,), validation=0.0, test=0.99))
    assert list(first.values()).count("test") == 9
    delete_version(store, home, store.datasets.find("talks"))
    second = make(files=(path,), validation=0.0, test=0.0)
    assert (second.manifest.number, place(second)) == (2, first)


def test_builds_at_the_same_time_get_numbers_of_their_own(
    tmp_path: Path, home: Home, base: ModelFolder, template: ChatTemplate
) -> None:
    def run(number: int) -> int:
        path = write_alpaca(tmp_path / f"{number}.json", make_pairs(5 + number))
        with Store.open(f"sqlite:///{tmp_path / 'chatbot.db'}") as store:
            return build(store, home, template, base, BuildRequest("talks", "sft", files=(path,))).manifest.number

    open_upgraded(f"sqlite:///{tmp_path / 'chatbot.db'}").close()
    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(run, range(4))) == [1, 2, 3, 4]
    assert list_numbers(home, "talks") == [1, 2, 3, 4]


def test_what_another_build_holds_out_meanwhile_is_not_trained_on(
    store: Store, home: Home, base: ModelFolder, template: ChatTemplate, make: Build
) -> None:
    for asked, answered in make_pairs(20):
        talk(store, asked, answered, decisions="+")
    steps: list[str] = []

    def meddle(step: str, done: int, _: int) -> None:
        if done == 0:
            steps.append(step)
        if steps == ["reading", "comparing", "measuring", "splitting", "writing"] and step == "writing":
            make("other", validation=0.0, test=0.99)

    request = BuildRequest("talks", "sft", log=LogFilter(), validation=0.0, test=0.0)
    folder = build(store, home, template, base, request, meddle)
    assert steps.count("writing") == 2
    other = DatasetFolder.open(home.datasets / "other" / "1")
    held = {hash_content(item) for item in other.read("test")}
    assert len(held) == 19
    assert held == {hash_content(item) for item in folder.read("test")}


def test_a_build_that_never_comes_to_rest_ends_with_an_error(
    store: Store, home: Home, base: ModelFolder, template: ChatTemplate, make: Build, tmp_path: Path
) -> None:
    count = 0

    def meddle(step: str, *_: int) -> None:
        nonlocal count
        if step == "writing":
            count += 1
            make(f"other{count}", files=(write_alpaca(tmp_path / "f.json", [(f"Why {count}?", "Because.")]),))

    talk(store, "hi there, you", "hello", decisions="+")
    with pytest.raises(LearningError, match="being built"):
        build(store, home, template, base, BuildRequest("talks", "sft", log=LogFilter()), meddle)
    assert 1 < count < 20
    assert not (home.datasets / "talks").exists()


def test_one_source_is_capped_and_nearly_the_same_are_kept_as_it_grows(make: Build, tmp_path: Path) -> None:
    small = make(files=(write_alpaca(tmp_path / "f.json", make_pairs(40)),), cap=20)
    large = make(files=(write_alpaca(tmp_path / "f.json", make_pairs(44)),), cap=20)
    kept = [set(place(folder)) for folder in (small, large)]
    assert [len(one) for one in kept] == [20, 20]
    assert len(kept[0] & kept[1]) >= 16
    assert small.manifest.counts["left_out"]["over the cap of its source"] == 20


def test_personal_data_is_masked_and_counted(make: Build, store: Store) -> None:
    talk(store, "I am ada@example.com", "Hello ada@example.com", decisions="+")
    talk(store, "something else", "Ask Grace Hopper", decisions="+")
    folder = make(redact=True, names=("Grace Hopper",))
    text = "".join(item.model_dump_json() for own in read_all(folder).values() for item in own)
    assert "ada@" not in text
    assert "Hopper" not in text
    assert folder.manifest.counts["redacted"] == {"email": 2, "name": 1}
    assert "Hopper" not in folder.manifest.model_dump_json()


def test_pairs_and_labels_are_built_from_files(make: Build, tmp_path: Path) -> None:
    pairs = [(asked, answered, answered[::-1]) for asked, answered in make_pairs(12)]
    folder = make("p", "preference", files=(write_pairs(tmp_path / "p.json", pairs),))
    found = [item for own in read_all(folder).values() for item in own]
    assert {(item.chosen, item.rejected) for item in found if isinstance(item, PreferenceItem)} == {
        (chosen, rejected) for _, chosen, rejected in pairs
    }
    labels = [(asked, answered, n % 2 == 0) for n, (asked, answered) in enumerate(make_pairs(12))]
    folder = make("k", "label", files=(write_labels(tmp_path / "k.json", labels),))
    assert sum(folder.manifest.counts["items"].values()) == 12


def test_placeholders_that_nobody_filled_are_told(make: Build, tmp_path: Path) -> None:
    path = write_alpaca(tmp_path / "me.json", [("Who are you?", "I am {{name}}."), ("Say something", "Else")])
    assert make("open", files=(path,)).manifest.counts["unfilled"] == {"name": 1}
    filled = make("full", files=(path,), fill={"name": "Ada", "author": "Lab"})
    assert filled.manifest.counts["filled"] == {"name": 1, "author": 0}
    texts = {item.turns[2].content for own in read_all(filled).values() for item in own if isinstance(item, SftItem)}
    assert texts == {"I am Ada.", "Else"}


def test_a_build_of_nothing_says_what_was_left_out(make: Build, store: Store, home: Home) -> None:
    talk(store, "hi", "hello")
    with pytest.raises(LearningError, match="1 nobody has approved it yet"):
        make()
    with pytest.raises(LearningError, match="no reply was found"):
        make(log=LogFilter(persona="nobody"))
    assert not home.datasets.exists()


def test_rows_that_cannot_be_written_leave_no_folder(
    make: Build, store: Store, file: Path, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> str:
        raise LearningError("no")

    monkeypatch.setattr(store.datasets, "add_version", refuse)
    with pytest.raises(LearningError):
        make(files=(file,))
    assert list_numbers(home, "talks") == []


def test_a_folder_that_a_kill_left_without_rows_keeps_its_number(make: Build, file: Path, home: Home) -> None:
    (home.datasets / "talks" / "4").mkdir(parents=True)
    assert make(files=(file,)).manifest.number == 5


def test_a_version_is_opened_by_its_title_if_it_is_as_it_was_frozen(
    make: Build, store: Store, home: Home, file: Path
) -> None:
    folder = make(files=(file,))
    assert open_version(store, home, "talks")[1].path == open_version(store, home, "talks/1")[1].path == folder.path
    with pytest.raises(NotFound):
        open_version(store, home, "talks/2")
    train = folder.path / "train.jsonl"
    train.write_bytes(train.read_bytes().replace(b"apple", b"apply", 1))
    with pytest.raises(DatasetDamaged, match=r"train\.jsonl differs"):
        open_version(store, home, "talks")


def test_another_manifest_with_right_hashes_is_not_the_version_of_the_rows(
    make: Build, store: Store, home: Home, file: Path
) -> None:
    one, two = make(files=(file,)), make(files=(file,), cap=10)
    for path in two.path.iterdir():
        (one.path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(DatasetDamaged, match="not what the database knows"):
        open_version(store, home, "talks/1")


def test_a_deleted_version_is_gone_with_its_folder(make: Build, store: Store, home: Home, file: Path) -> None:
    make(files=(file,))
    delete_version(store, home, store.datasets.find("talks"))
    assert store.datasets.versions() == []
    assert not (home.datasets / "talks").exists()


def test_progress_is_told_step_by_step(
    store: Store, home: Home, base: ModelFolder, template: ChatTemplate, file: Path
) -> None:
    heard: list[tuple[str, int, int]] = []
    request = BuildRequest("talks", "sft", files=(file,))
    build(store, home, template, base, request, lambda *step: heard.append(step))
    assert list(dict.fromkeys(step for step, _, _ in heard)) == [
        "reading",
        "comparing",
        "measuring",
        "splitting",
        "writing",
    ]
    assert ("measuring", 40, 40) in heard


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "../x"},
        {"name": "a/b"},
        {"name": ""},
        {"kind": "text"},
        {"validation": 0.6, "test": 0.5},
        {"validation": -0.1},
        {"replay": 1.0},
        {"kind": "label", "replay": 0.1},
        {"near": 0.0},
        {"long": "cut"},
        {"log": None},
    ],
)
def test_a_request_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    good: dict[str, Any] = {"name": "talks", "kind": "sft", "log": LogFilter()}
    assert replace(BuildRequest(**good), seed=1).recipe["seed"] == 1
    with pytest.raises(InvalidInput):
        BuildRequest(**good | wrong)


def test_more_tokens_than_the_models_window_are_refused(make: Build, file: Path) -> None:
    with pytest.raises(InvalidInput, match="window of 512"):
        make(files=(file,), max_tokens=513)


def test_a_title_is_a_name_and_perhaps_a_number() -> None:
    assert (parse_title("talks"), parse_title("talks/12")) == (("talks", None), ("talks", 12))
    for title in ("talks/", "talks/x", "talks/-1", "talks/1/2", "talks/99999999999", "../1", "talks/²", "\x1b/1"):
        with pytest.raises(InvalidInput):
            parse_title(title)
