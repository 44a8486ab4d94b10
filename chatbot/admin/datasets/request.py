"""What a dataset is asked to be. It is kept in the manifest as the recipe, so that it can be asked for again."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, get_args

from chatbot.admin.datasets.items import Kind
from chatbot.errors import InvalidInput
from chatbot.store.filters import LogFilter
from chatbot.text import printable_line

LengthPolicy = Literal["split", "drop", "fail"]
"""What becomes of an item that is too long: cut where one turn ends and the next begins, left out, or an error."""

MOST_TOKENS = 1024
"""The default for the longest row, if the model's window is not shorter: what a small machine can train."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_MOST_REPLAY = 0.95


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """Raises InvalidInput for what makes no sense."""

    name: str
    kind: Kind
    log: LogFilter | None = None
    """The conversations of the log that are meant; None takes nothing from the log."""
    files: tuple[Path, ...] = ()
    fill: Mapping[str, str] = field(default_factory=dict)
    """What takes the place of {{name}} and the like in `files`."""
    system: str = ""
    """The system prompt of rows whose file has none; it should be the one that the chat sends."""
    unreviewed: bool = False
    """Let thumbs up and preferences teach that no reviewer has approved."""
    redact: bool = False
    names: tuple[str, ...] = ()
    """Names of people that a redaction masks."""
    near: float = 0.85
    """From this similarity (Jaccard) of both prompt and reply on, one of two items is removed; above 1 none is."""
    cap: int = 0
    """The most items of one source (the log, or one file); 0 is no cap."""
    max_tokens: int = 0
    """The longest row; 0 takes 1024, or the model's window if that is shorter."""
    long: LengthPolicy = "split"
    validation: float = 0.1
    test: float = 0.1
    """The shares that are held out; train is the rest."""
    replay: float = 0.0
    """The share of the rows of train that are general ones, against forgetting."""
    replay_file: Path | None = None
    """Where they come from; None takes our own."""
    seed: int = 0
    """Chooses among the items where there are more than wanted."""

    def __post_init__(self) -> None:
        check_name(self.name)
        if self.kind not in get_args(Kind) or self.long not in get_args(LengthPolicy):
            raise InvalidInput(f"The kind is one of {', '.join(get_args(Kind))}.")
        if not (0 <= self.validation < 1 and 0 <= self.test < 1 and self.validation + self.test < 1):
            raise InvalidInput("The shares of validation and test are between 0 and 1, and train needs some, too.")
        if not 0 <= self.replay <= _MOST_REPLAY:
            raise InvalidInput(f"The share of replay is between 0 and {_MOST_REPLAY}.")
        if self.replay and self.kind != "sft" and self.replay_file is None:
            raise InvalidInput(f"There are no general rows of the kind {self.kind}.", hint="Give a file of them.")
        if not self.near > 0 or self.cap < 0 or self.max_tokens < 0:
            raise InvalidInput("A similarity, a cap and a length are positive.")
        if self.log is None and not self.files:
            raise InvalidInput("There is nothing to build from.", hint="Take the log, or give files.")

    @property
    def recipe(self) -> dict[str, Any]:
        """As JSON. Files are named without their folders; people's names are counted, not told."""
        told = asdict(self)
        told["files"] = [path.name for path in self.files]
        told["replay_file"] = self.replay_file.name if self.replay_file else ""
        told["names"] = len(self.names)
        told["fill"] = dict(self.fill)
        if self.log is not None:
            asked = {key: value for key, value in asdict(self.log).items() if value}
            told["log"] = {
                key: value.isoformat() if isinstance(value, datetime) else value for key, value in asked.items()
            }
        return told


def check_name(name: str) -> str:
    """`name` if it can be that of a dataset: it is also the name of a folder. Raises InvalidInput."""
    if not _NAME.fullmatch(name) or ".." in name:
        raise InvalidInput(
            f"{printable_line(name, 60)!r} cannot be the name of a dataset.",
            hint="A name has up to 64 letters, digits, '.', '_' and '-', and begins with a letter or digit.",
        )
    return name


def parse_title(title: str) -> tuple[str, int | None]:
    """The name and number in NAME/NUMBER; the number is None in NAME. Raises InvalidInput."""
    name, slash, number = title.partition("/")
    if slash and not (number.isascii() and number.isdecimal() and 0 < len(number) < 10 and int(number)):
        raise InvalidInput(f"{printable_line(title, 80)!r} is no dataset version.", hint="Such as talks/3.")
    return check_name(name), int(number) if slash else None
