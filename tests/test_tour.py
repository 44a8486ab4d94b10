"""The tour's script beside a program that only notes how it is called: it notices a model that has learnt nothing, and
makes nothing twice."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

_SCRIPT = Path(__file__).parents[1] / "docs" / "tour.sh"
_PROGRAM = r"""#!/bin/sh
printf '%s\n' "$*" >>"$CHATBOT_HOME/calls"
case "$*" in
"admin tokenizer show "* | "models show "*) [ -e "$CHATBOT_HOME/made-$3$4" ] ;;
"admin tokenizer train "*) : >"$CHATBOT_HOME/made-show$4" ;;
"admin pretrain --corpus "*) : >"$CHATBOT_HOME/made-$4-1" ;;
"admin finetune "*) : >"$CHATBOT_HOME/made-$3-1" ;;
*"I love") printf '%s\n' "$REPLY" ;;
esac
"""


def tour(folder: Path, home: Path, reply: str) -> tuple[int, list[str]]:
    """The exit code, and the calls that make something."""
    program = folder / ".venv" / "bin" / "chatbot"
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text(_PROGRAM)
    program.chmod(0o755)
    (folder / "docs").mkdir(exist_ok=True)
    script = shutil.copy(_SCRIPT, folder / "docs")
    (home / "calls").unlink(missing_ok=True)
    about = {"PATH": "/usr/bin:/bin", "TOUR_HOME": str(home), "REPLY": reply}
    done = subprocess.run([script], env=about, capture_output=True, timeout=60, check=False)
    calls = (home / "calls").read_text().splitlines()
    return done.returncode, [call for call in calls if call.split()[1] in {"pretrain", "finetune"} or " train " in call]


@pytest.mark.parametrize("reply", ["", "you", " her", " yo", "I love you"])
def test_a_model_that_did_not_learn_its_sentence_ends_the_tour(tmp_path: Path, reply: str) -> None:
    code, made = tour(tmp_path, tmp_path, reply)
    assert code == 1
    assert len(made) == 2


def test_a_second_tour_makes_nothing_anew_and_deletes_nothing(tmp_path: Path) -> None:
    own = tmp_path / "own.txt"
    own.write_text("mine")
    code, made = tour(tmp_path, tmp_path, " you")
    assert (code, len(made)) == (0, 5)
    assert tour(tmp_path, tmp_path, " you") == (0, [])
    assert own.read_text() == "mine"
