"""Nothing that a model, a person or a file says reaches the terminal as a control sequence.

10,000 strings (seeds that are known to do harm, and random mixtures of their parts) go through every surface that shows
text, in the real program on a real pseudo-terminal; then each byte that arrived is looked at. What we write ourselves
is of few kinds and within narrow bounds; each seed lies outside them (31337 is no colour and no column), so whatever
else stands there came from a string.
"""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from chatbot.files import package_folder
from tests.terminal.conftest import Terminal

COUNT = 10_000
# All that Textual and we write: colours, places on this screen, modes, two queries, keyboard modes, the pointer's
# shape, the window's title.
_COLOUR = rb"(?:\d|[1-9]\d|1\d\d|2[0-4]\d|25[0-5])"
OWN = re.compile(
    rb"\x1b\[(?:%(c)s(?:;%(c)s)*)?m"
    rb"|\x1b\[\d{1,3};\d{1,3}H"
    rb"|\x1b\[\?(?:7|25|1000|1002|1003|1004|1006|1015|1016|1049|2004|2026|2027|2031|2048)[hl]"
    rb"|\x1b\[\?(?:2026|2048)\$p"
    rb"|\x1b\[2[23];2t"
    rb"|\x1b\[>(?:1|25)u|\x1b\[<u|\x1b\]22;default\x07"
    rb"|\x1b\]2;[^\x00-\x1f\x7f]*(?:chatbot|\xe2\x80\xa6)\x07" % {b"c": _COLOUR}
)
FORBIDDEN = re.compile("[\x80-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\U000e0000-\U000e007f]")


MODE = re.compile(rb"\x1b\[\?\d+[hl]")
OFTEN = {b"\x1b[?2026h", b"\x1b[?2026l", b"\x1b[?25h", b"\x1b[?25l"}
MOST_CHANGES = 4
"""How often a mode is set or reset by ourselves: at the start and at the end."""


def read_seeds() -> list[str]:
    """The cases in data/hostile: one JSON string a line."""
    lines = (package_folder("data") / "hostile" / "terminal.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines if line]


def make_strings(count: int) -> list[str]:
    """The seeds, then random mixtures of them with text, Markdown and markup."""
    source = random.Random(31337)
    seeds = read_seeds()
    between = [
        "",
        " ",
        "text ",
        "中文 ",
        "**",
        "`",
        "\n",
        "[b]",
        "[/]",
        "](",
        "> ",
        "```\n",
        "| ",
        "- ",
        "\t",
        "🎉",
        "&#27;",
    ]
    strings = list(seeds)
    while len(strings) < count:
        parts = []
        for _ in range(source.randint(1, 4)):
            seed = source.choice(seeds)
            cut = source.randint(0, len(seed))
            parts += [source.choice(between), seed if source.random() < 0.6 else seed[:cut] + seed[cut + 1 :]]
        strings.append("".join(parts)[:90])
    return strings[:count]


def find_foreign(raw: bytes) -> Counter[bytes]:
    """Every control sequence and control character that is not of a kind that we write."""
    rest = OWN.sub(b"", raw)
    found = Counter(
        match[0]
        for match in re.finditer(rb"\x1b.{0,12}|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f].{0,8}|\r(?!\n)", rest, re.DOTALL)
    )
    modes = Counter(match[0] for match in MODE.finditer(raw))
    found.update({mode: n for mode, n in modes.items() if n > MOST_CHANGES and mode not in OFTEN})
    found.update(match[0].encode() for match in FORBIDDEN.finditer(raw.decode("utf-8", "replace")))
    return found


def test_the_scan_would_find_them() -> None:
    """The check itself: raw, each seed that a terminal would obey is found."""
    for seed in read_seeds():
        if re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e\u2066]", seed.replace("\r\n", "")):
            assert find_foreign(seed.encode() * (MOST_CHANGES + 1)), repr(seed)
    assert not find_foreign("\x1b[38;2;1;2;3mtext\x1b[0m\x1b[3;4H\r\n\x1b]2;title · chatbot\x07".encode())
    assert len(make_strings(COUNT)) == COUNT


@pytest.mark.slow
def test_no_foreign_escape_reaches_the_terminal(start: Callable[..., Terminal], tmp_path: Path) -> None:
    path = tmp_path / "strings.json"
    path.write_text(json.dumps(make_strings(COUNT)), "utf-8")
    terminal = start("-m", "tests.terminal.hostile_app", str(path), columns=110, rows=40)
    terminal.feed = False
    terminal.until(lambda: terminal.has_ended, "all strings to be shown", seconds=500)
    assert path.with_suffix(".done").exists(), terminal.raw[-3000:].decode("utf-8", "replace")
    terminal.pump(0.5)
    raw = bytes(terminal.raw)
    assert len(raw) > 1_000_000, "the strings were not shown"
    assert b"\xe2\x90\x9b" in raw, "escapes are shown as their pictures"
    assert not find_foreign(raw).most_common(5)
    assert b"\x1b]52;" not in raw, "the clipboard was written"
    assert b"\x1b]8;" not in raw, "a hyperlink was written"
