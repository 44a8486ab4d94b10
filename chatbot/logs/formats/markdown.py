"""Conversations as Markdown, for people to read.

What was said stands in block quotes below headings that name the speaker, so no text can pass for a heading of ours:
a quoted heading is visibly quoted. Only HTML could break out of the quote (`</blockquote>`, an open comment), and
whether a `<` is HTML or code only a parser can tell; a message that has HTML stands in a fence, as it was written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC
from typing import TYPE_CHECKING

from chatbot.logs.formats.branches import find_branch
from chatbot.store.archive_records import ArchivedConversation, ArchivedMessage
from chatbot.text import printable, printable_line

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

_PERHAPS_HTML = re.compile(r"<[A-Za-z/!?]")
_SIGNS = re.compile(r"([\\`*_\[\]<>#|~&])")
_SPEAKERS = {"user": "User", "assistant": "Assistant"}
_DEEPEST = 18  # quotes and lists inside each other; the parser does not look into much deeper ones
_LONGEST = 200_000  # characters that are worth the parser's time


def write_markdown(conversations: Iterable[ArchivedConversation]) -> Iterator[str]:
    """The branch on screen of each, a conversation at a time."""
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark")
    separator = ""
    for conversation in conversations:
        yield separator + "\n".join(_write_conversation(conversation, parser))
        separator = "\n---\n\n"


def _write_conversation(conversation: ArchivedConversation, parser: MarkdownIt) -> Iterator[str]:
    yield f"# {_escape(conversation.title) or 'Conversation'}\n"
    if conversation.system_prompt.strip():
        yield f"## System prompt\n\n{_quote(conversation.system_prompt, parser)}\n"
    for message in find_branch(conversation):
        yield f"## {_write_heading(message)}\n\n{_quote(message.content, parser)}\n"


def _write_heading(message: ArchivedMessage) -> str:
    parts = [_SPEAKERS.get(message.role, message.role)]
    if message.model:
        parts.append(_escape(message.model))
    if message.created:
        parts.append(f"{message.created.astimezone(UTC):%Y-%m-%d %H:%M} UTC")
    return " · ".join(parts)


def _escape(text: str) -> str:
    """One line in which nothing is markup."""
    return _SIGNS.sub(r"\\\1", printable_line(text))


def _quote(text: str, parser: MarkdownIt) -> str:
    shown = printable(text).strip("\n")
    quoted = _prefix(shown)
    # What is looked at is the quotation: a tab is worth fewer columns in it, and what was code may be HTML there.
    if not _PERHAPS_HTML.search(shown) or not _has_html(quoted, parser):
        return quoted
    longest = max((len(run) for run in re.findall(r"`+", shown)), default=0)
    fence = "`" * max(3, longest + 1)
    return _prefix(f"{fence}\n{shown}\n{fence}")


def _prefix(text: str) -> str:
    return "\n".join(f"> {line}" if line else ">" for line in text.split("\n"))


def _has_html(text: str, parser: MarkdownIt) -> bool:
    """Whether a `<` in it is HTML; also if the parser did not look everywhere."""
    if len(text) > _LONGEST:
        return True
    for token in parser.parse(text):
        if token.type == "html_block" or token.level >= _DEEPEST:
            return True
        if any(child.type == "html_inline" or child.level >= _DEEPEST for child in token.children or ()):
            return True
    return False
