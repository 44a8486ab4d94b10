"""A conversation's title, made from the first thing that the user said.

No model is asked: a title must be there at once, must be the same each time, and a small model makes poor ones. It is
the first sentence without its Markdown, cut between words; Chinese and Japanese have no spaces and are cut anywhere.
"""

from __future__ import annotations

import re

from chatbot.text import printable_line

LIMIT = 60
_HEAD = 2_000  # characters looked at: a prompt may be a whole book
_WIDE_STOP = "。！？｡"

_FENCE = re.compile(r"^\s*(```|~~~).*?(^\s*\1|\Z)", re.MULTILINE | re.DOTALL)
_LINE_MARK = re.compile(r"^\s*(#{1,6}\s+|>\s*|[-*+]\s+|\d+[.)]\s+|[-=_*]{3,}\s*$)", re.MULTILINE)
_LINK = re.compile(r"!?\[([^\]\n]*)\]\([^)\n]*\)")
_EMPHASIS = re.compile(r"(\*\*|__|\*|`+|~~)(?=\S)(.+?)(?<=\S)\1")
_SENTENCE_END = re.compile(rf"[{_WIDE_STOP}]|[.!?…](?=\s)|\n")


def make_title(text: str) -> str:
    """One line of at most LIMIT characters; empty only if `text` shows nothing."""
    head = text[:_HEAD]
    plain = _strip_markdown(_FENCE.sub("\n", head)).strip()
    plain = plain or _strip_markdown(re.sub(r"```\w*|~~~\w*", "", head)).strip()
    sentence = printable_line(plain[: _find_end(plain)]).strip("\"'“”「」 ")
    sentence = sentence.rstrip(".,;:。，；：、")
    return _cut(sentence or printable_line(head))


def _strip_markdown(text: str) -> str:
    text = _LINK.sub(r"\1", _LINE_MARK.sub("", text))
    return _EMPHASIS.sub(r"\2", text)


def _find_end(text: str) -> int:
    """Where the first sentence ends; one of a few letters ("Hi! …") takes the next with it."""
    for found in _SENTENCE_END.finditer(text):
        if found.end() >= 12 or (found[0] in _WIDE_STOP and found.end() >= 4):
            return found.end()
    return len(text)


def _cut(line: str) -> str:
    if len(line) <= LIMIT:
        return line
    cut = line[: LIMIT - 1]
    space = cut.rfind(" ")
    if space > LIMIT // 2:
        cut = cut[:space]
    return cut.rstrip(" ,;:，；：、") + "…"
