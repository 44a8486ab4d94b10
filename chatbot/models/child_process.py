"""How this room starts an interpreter of its own: pip, and the conversion of a stranger's file.

`python -m` looks for modules in the present folder first, which may be the very folder that a stranger's files were
unpacked into: a json.py there would be run. `-P` and a working folder of `/` keep it out.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

FOLDER = "/"
"""The working folder of a child."""


def name_command(module: str) -> list[str]:
    """The command that runs `module` in our own interpreter; its paths must be absolute, because of FOLDER."""
    return [sys.executable, "-P", "-m", module]


def clean_environment(**changes: str) -> dict[str, str]:
    """This process's environment without our settings, and with `changes`.

    A checkout that was not installed is named, because a child in FOLDER would not find it.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CHATBOT_")}
    checkout = Path(__file__).resolve().parents[2]
    if (checkout / "pyproject.toml").is_file():
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(checkout), environment.get("PYTHONPATH")]))
    return environment | changes
