"""Tokens made legible: what bytes a token stands for, and how a text is cut.

A byte-level tokenizer writes its tokens in an alphabet of its own (Ġ is a space, å½ half of a Chinese character), which
tells a reader nothing. Here a token is its bytes, and is shown as text with signs for what would not be seen; bytes
that are only part of a character are shown in hexadecimal.
"""

from __future__ import annotations

import json
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chatbot.text import printable

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_SIGNS = {" ": "·", "\n": "↵", "\t": "⇥", "\r": "␍"}
_UNSEEN = {"Cc", "Cf", "Cn", "Co", "Cs", "Zs", "Zl", "Zp"}  # of Unicode: what takes no ink
_ACCENTS = {"Mn", "Me"}


@dataclass(frozen=True, slots=True)
class Piece:
    """A token: its id, its bytes, and how it is shown on one line; `special` if it is a mark and no text."""

    id: int
    content: bytes
    shown: str
    special: bool = False


class TokenReader:
    """Reads the tokens of a tokenizer."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        added = tokenizer.get_added_tokens_decoder()
        self.special = frozenset(number for number, token in added.items() if token.special)
        self._added = {number: token.content for number, token in added.items()}
        kinds = _list_decoders(tokenizer)
        self._bytes = _map_bytes() if "ByteLevel" in kinds else None
        self._spaced = bool(kinds & {"Metaspace", "Replace"})  # a token that begins a word is written ▁word

    def read(self, number: int) -> bytes:
        """The bytes that the token stands for; none for a number that is no token."""
        if number in self._added:
            return self._added[number].encode("utf-8", "replace")
        token = self.tokenizer.id_to_token(number)
        if token is None:
            return b""
        if self._bytes is not None:
            return b"".join(bytes([self._bytes[sign]]) if sign in self._bytes else sign.encode() for sign in token)
        if len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
            try:
                return bytes([int(token[3:5], 16)])
            except ValueError:
                pass
        return (token.replace("▁", " ") if self._spaced else token).encode()

    def piece(self, number: int) -> Piece:
        content = self.read(number)
        return Piece(number, content, show_bytes(content), number in self.special)

    def cut(self, text: str) -> list[Piece]:
        """`text` as the tokenizer cuts it; what spells a special token is text like any other."""
        self.tokenizer.encode_special_tokens = True
        try:
            ids = self.tokenizer.encode(text, add_special_tokens=False).ids
        finally:
            self.tokenizer.encode_special_tokens = False
        return [self.piece(number) for number in ids]

    def sample(self, each: int = 3) -> dict[int, list[Piece]]:
        """Tokens by their length in characters, the longest first, and `each` of a length, spread over the vocabulary:
        early ones were joined first, since they are the most frequent. Special tokens and parts of characters are left
        out."""
        lengths: dict[int, list[Piece]] = defaultdict(list)
        for number in range(self.tokenizer.get_vocab_size()):
            if number in self._added:
                continue
            content = self.read(number)
            try:
                text = content.decode()
            except UnicodeDecodeError:
                continue
            if text.strip():
                lengths[len(text)].append(Piece(number, content, show_bytes(content)))
        return {length: _spread(lengths[length], each) for length in sorted(lengths, reverse=True)}


def show_bytes(content: bytes) -> str:
    """A token's bytes on one line, with signs for what would not be seen: · is a space, ↵ a line's end."""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return f"⟨{content.hex(' ').upper()}⟩"
    if not text:
        return "⟨⟩"
    return "".join(_show_sign(sign, alone=len(text) == 1) for sign in text)


def _show_sign(sign: str, *, alone: bool) -> str:
    if sign in _SIGNS:
        return _SIGNS[sign]
    kind = unicodedata.category(sign)
    if kind in _UNSEEN or (alone and kind in _ACCENTS) or printable(sign) != sign:
        return f"⟨U+{ord(sign):04X}⟩"
    return sign


def _spread(pieces: Sequence[Piece], count: int) -> list[Piece]:
    if len(pieces) <= count:
        return list(pieces)
    return [pieces[place * (len(pieces) - 1) // max(count - 1, 1)] for place in range(count)]


def _list_decoders(tokenizer: Tokenizer) -> set[str]:
    """The kinds of the tokenizer's decoder and of its parts."""
    if tokenizer.decoder is None:
        return set()
    found: dict[str, Any] = json.loads(tokenizer.decoder.__getstate__())
    return {str(part.get("type")) for part in (found, *found.get("decoders", ()))}


def _map_bytes() -> dict[str, int]:
    """GPT-2's alphabet: bytes that are visible characters stand for themselves, the others for those from U+0100 on."""
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [number for number in range(256) if number not in visible]
    return {chr(number): number for number in visible} | {chr(256 + place): b for place, b in enumerate(hidden)}
