"""Code with its syntax in colour, as spans over plain text.

Pygments finds the tokens; the lexer is loaded by the name that the code block gives and never guessed, because guessing
loads every lexer there is (over a second) and is mostly wrong on the first lines of a stream.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from textual.content import Content, Span

if TYPE_CHECKING:
    from pygments.lexer import Lexer

_LONGEST = 60_000  # characters; more would hold up the keys for longer than a frame
_STYLES = {
    "Token.Comment": "$muted italic",
    "Token.Keyword": "$text-primary",
    "Token.Keyword.Constant": "$text-warning",
    "Token.Operator.Word": "$text-primary",
    "Token.Name.Builtin": "$text-secondary",
    "Token.Name.Class": "$text-warning",
    "Token.Name.Decorator": "$text-warning",
    "Token.Name.Exception": "$text-error",
    "Token.Name.Function": "$text-secondary bold",
    "Token.Name.Tag": "$text-primary",
    "Token.Name.Attribute": "$text-warning",
    "Token.Literal.Number": "$text-warning",
    "Token.Literal.String": "$text-success",
    "Token.Generic.Inserted": "$text-success",
    "Token.Generic.Deleted": "$text-error",
    "Token.Generic.Heading": "bold",
    "Token.Generic.Subheading": "$text-secondary",
    "Token.Generic.Prompt": "$muted",
}


def highlight(code: str, language: str) -> Content:
    """`code` (already printable, without a final newline) with the colours of `language`; plain if that is unknown."""
    lexer = _find_lexer(language) if len(code) <= _LONGEST else None
    if lexer is None:
        return Content(code)
    spans = []
    position = 0
    for kind, text in lexer.get_tokens(code):
        style = _find_style(str(kind))
        if style and text.strip():
            spans.append(Span(position, position + len(text), style))
        position += len(text)
    return Content(code, spans)


@lru_cache(maxsize=32)
def _find_lexer(language: str) -> Lexer | None:
    from pygments.lexers import get_lexer_by_name
    from pygments.util import ClassNotFound

    try:
        return get_lexer_by_name(language, stripnl=False, ensurenl=False) if language else None
    except ClassNotFound:
        return None


@lru_cache(maxsize=512)
def _find_style(kind: str) -> str:
    """The style of a token, or of the nearest kind of token above it."""
    while kind:
        if kind in _STYLES:
            return _STYLES[kind]
        kind = kind.rpartition(".")[0]
    return ""
