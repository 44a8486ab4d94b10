"""Personas: those that the program ships, the user's own, and broken files among them."""

from __future__ import annotations

from pathlib import Path

import pytest

from chatbot.dialogue.personas import Personas
from chatbot.errors import NotFound


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "personas"
    made.mkdir()
    return made


def test_the_shipped_ones_can_be_read(tmp_path: Path) -> None:
    personas = Personas(tmp_path / "none")
    assert personas.problems == []
    assert personas.list()[0].name == "default"
    assert {"default", "concise", "tutor", "storyteller", "zhongwen"} <= {item.name for item in personas.list()}
    assert all(item.system and item.title and item.description and not item.own for item in personas.list())
    assert personas.find("concise").sampling.temperature == 0.3


def test_the_users_own_replaces_the_shipped_one(folder: Path) -> None:
    (folder / "default.toml").write_text('system = "Mine."\nmodel = "m"\n[sampling]\nstop = ["END"]\nmax_tokens = 5\n')
    persona = Personas(folder).find("default")
    assert (persona.system, persona.title, persona.model, persona.own) == ("Mine.", "default", "m", True)
    assert (persona.sampling.stop, persona.sampling.max_tokens, persona.sampling.temperature) == (("END",), 5, None)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b'title = "x"\nsystem = \n', "line 2"),
        (b'title = "x"\nsystem = "\xff"\n', "line 2: not UTF-8"),
        (b'title = "x"\n', "system: Field required"),
        (b'system = "x"\ncolour = "red"\n', "line 2: colour: there is no such key"),
        (b'system = "x"\n\n[sampling]\ntemperature = "hot"\n', "line 4: sampling.temperature"),
        (b'system = "x"\n[sampling]\ntop_p = 2.0\n', "line 3: sampling.top_p"),
        (b"#" * 300_000, "longer than 256 KiB"),
    ],
)
def test_a_broken_file_is_named_and_breaks_no_other(folder: Path, content: bytes, complaint: str) -> None:
    (folder / "mine.toml").write_bytes(content)
    (folder / "good.toml").write_text('system = "x"\n')
    personas = Personas(folder)
    (problem,) = personas.problems
    assert str(folder / "mine.toml") in problem
    assert complaint in problem
    assert personas.find("good").system == "x"
    with pytest.raises(NotFound, match=r"mine\.toml"):
        personas.find("mine")


def test_an_unknown_name_lists_the_known_ones(folder: Path) -> None:
    with pytest.raises(NotFound, match=r"There is no persona '\.\./secret'.*default"):
        Personas(folder).find("../secret")


def test_an_edit_counts_at_once(folder: Path) -> None:
    personas = Personas(folder)
    (folder / "mine.toml").write_text('system = "one"\n')
    assert personas.find("mine").system == "one"
    (folder / "mine.toml").write_text('system = "two"\n')
    assert personas.find("mine").system == "two"
