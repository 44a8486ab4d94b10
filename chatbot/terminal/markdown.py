"""Markdown that a model wrote, as blocks of prose.

markdown-it reads it; HTML and automatic links are off, so nothing vanishes and nothing is more than it looks. Links get
a click action, never a terminal hyperlink (OSC 8): where a click leads is shown and asked first. Text is made printable
before it is parsed, and again after it, because an entity such as `&#x202e;` becomes a character only then.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from textual.content import Content, Span
from textual.style import Style

from chatbot.terminal.highlighting import highlight
from chatbot.terminal.prose import Block, TableBlock
from chatbot.text import printable, printable_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from markdown_it import MarkdownIt
    from markdown_it.token import Token

BAR = Content.styled("▎ ", "$border")
BULLETS = ("• ", "◦ ", "▪ ")
_HEADINGS = {"h1": "bold $text-primary underline", "h2": "bold $text-primary", "h3": "bold"}
_INLINE = {"strong": "bold", "em": "italic", "s": "strike"}
_SAFE_LINK = re.compile(r"(https?|mailto):", re.IGNORECASE)
_DEEPEST = 12  # levels of indentation; what is nested deeper stays readable at the twelfth


@lru_cache(maxsize=1)
def _make_parser() -> MarkdownIt:
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark", {"html": False, "maxNesting": 40}).enable(["table", "strikethrough"])


class MarkdownText:
    """Markdown that grows: what stands before the last top-level block is parsed once."""

    def __init__(self) -> None:
        self.text = ""
        self._settled: list[Block] = []
        self._settled_end = 0

    def set(self, text: str) -> list[Block]:
        """The blocks of `text`, which is printable. If it begins with what was there before, only its end is parsed."""
        if not text.startswith(self.text):
            self._settled, self._settled_end = [], 0
        self.text = text
        tail = text[self._settled_end :]
        tokens = _make_parser().parse(tail)
        last = max((n for n, token in enumerate(tokens) if token.level == 0 and token.nesting >= 0), default=0)
        if last and (position := _line_position(tail, tokens[last].map)):
            self._settled += build_blocks(tokens[:last], first=not self._settled)
            self._settled_end += position
            tokens = tokens[last:]
        return self._settled + build_blocks(tokens, first=not self._settled)


def _line_position(text: str, lines: list[int] | None) -> int:
    """Where in `text` the first of `lines` begins."""
    if not lines:
        return 0
    return sum(len(line) + 1 for line in text.split("\n")[: lines[0]])


def find_code_blocks(source: str) -> list[str]:
    """The code blocks of a message as they were written, in order."""
    return [token.content for token in _make_parser().parse(source) if token.type in {"fence", "code_block"}]


def build_blocks(tokens: Sequence[Token], first: bool = True) -> list[Block]:
    """Blocks of prose for a run of markdown-it's tokens; `first` leaves out the empty row above."""
    blocks: list[Block] = []
    prefixes: list[Content] = []  # what each open list or quotation puts left of its rows
    numbers: list[int | None] = []  # of each open list: the next number, None for bullets
    marker: Content | None = None  # a bullet that waits for the first text of its item
    tight = False

    def add(block: Block, gap: int = 1) -> None:
        nonlocal marker
        rest = Content("").join(prefixes[:_DEEPEST])
        block.rest = rest
        block.first = Content("").join([*prefixes[:_DEEPEST][:-1], marker]) if marker and prefixes else rest
        block.gap = 0 if first and not blocks else gap
        marker = None
        blocks.append(block)

    index = 0
    while index < len(tokens):
        token = tokens[index]
        kind = token.type
        if kind in {"bullet_list_open", "ordered_list_open"}:
            numbers.append(int(token.attrs.get("start", 1)) if kind == "ordered_list_open" else None)
            prefixes.append(Content(""))
            tight = bool(blocks) and len(numbers) > 1
        elif kind in {"bullet_list_close", "ordered_list_close"}:
            numbers.pop()
            prefixes.pop()
            tight = False
        elif kind == "list_item_open":
            number = numbers[-1]
            text = BULLETS[(len(numbers) - 1) % len(BULLETS)] if number is None else f"{number}. "
            if number is not None:
                numbers[-1] = number + 1
            marker = Content.styled(text, "$text-primary")
            prefixes[-1] = Content(" " * len(text))
            tight = tight or (index > 0 and tokens[index - 1].type == "list_item_close")
        elif kind == "list_item_close" and marker is not None:
            add(Block(Content("")), gap=0)
        elif kind == "blockquote_open":
            prefixes.append(BAR)
        elif kind == "blockquote_close":
            prefixes.pop()
        elif kind == "inline":
            opener = tokens[index - 1]
            content = build_inline(token.children or [])
            if style := _HEADINGS.get(opener.tag, "bold italic" if opener.tag.startswith("h") else ""):
                content = content.stylize(style)
            add(Block(content), gap=0 if opener.hidden and tight else 1)
            tight = False
        elif kind in {"fence", "code_block"}:
            language = (token.info.split() or [""])[0] if kind == "fence" else ""
            _add_code(add, token.content, language)
        elif kind == "hr":
            add(Block(Content.styled("─" * 24, "$border")))
        elif kind == "table_open":
            end = next(n for n in range(index, len(tokens)) if tokens[n].type == "table_close")
            add(TableBlock(Content(""), table=list(_read_table(tokens[index:end]))))
            index = end
        index += 1
    return blocks


def _add_code(add: object, code: str, language: str) -> None:
    assert callable(add)
    label = printable_line(language, 20)
    add(Block(Content.styled(f" {label}" if label else " ", "$muted"), fill="on $panel"))
    content = highlight(code.rstrip("\n"), language)
    body = Content("\n").join(Content(" ") + line for line in content.split("\n", allow_blank=True))
    add(Block(body, fill="on $panel", fold=True), gap=0)
    add(Block(Content(""), fill="on $panel"), gap=0)


def _read_table(tokens: Sequence[Token]) -> Iterator[list[Content]]:
    row: list[Content] = []
    for index, token in enumerate(tokens):
        if token.type == "tr_open":
            row = []
        elif token.type == "inline":
            content = build_inline(token.children or [])
            row.append(content.stylize("bold") if tokens[index - 1].type == "th_open" else content)
        elif token.type == "tr_close":
            yield row


def build_inline(tokens: Sequence[Token]) -> Content:
    """Text with its emphasis, inline code and links."""
    parts: list[str] = []
    spans: list[Span] = []
    open_marks: list[tuple[int, str | Style]] = []
    position = 0

    def write(text: str, style: str | Style = "") -> None:
        nonlocal position
        text = printable(text)
        parts.append(text)
        if style and text:
            spans.append(Span(position, position + len(text), style))
        position += len(text)

    for token in tokens:
        name, _, edge = token.type.rpartition("_")
        if token.type in {"text", "text_special"}:
            write(token.content)
        elif token.type in {"softbreak", "hardbreak"}:
            write("\n")  # models break lines where they mean to
        elif token.type == "code_inline":
            write(token.content, "$text-accent on $panel")
        elif token.type == "image":
            write(f"[image: {printable_line(token.content, 80)}]", "$muted")
        elif token.type == "link_open":
            open_marks.append((position, _link_style(str(token.attrs.get("href", "")))))
        elif edge == "open":
            open_marks.append((position, _INLINE.get(name, "")))
        elif edge == "close" and open_marks:
            start, style = open_marks.pop()
            if style and position > start:
                spans.append(Span(start, position, style))
    return Content("".join(parts), spans)


def _link_style(address: str) -> str | Style:
    if not _SAFE_LINK.match(address):
        return "underline"
    return Style(underline=True) + Style.from_meta({"@click": f"screen.open_link({printable_line(address)!r})"})
