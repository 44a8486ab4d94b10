"""Text as it may be shown: whole characters, no special tokens, no stop strings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from chatbot.engine.protocol import TokenLogprob
from chatbot.engine.reply_text import ReplyText

HARD = "天空为什么是蓝色的？😀👩‍💻🇨🇳 naïve — ﷽ 𝔘𝔫𝔦"


@pytest.fixture(scope="module")
def tokenizer(tiny_models: Path) -> Tokenizer:
    return Tokenizer.from_file(str(tiny_models / "llama" / "tokenizer.json"))


def show(text: ReplyText, tokens: Sequence[int]) -> list[str]:
    pieces = []
    for token in tokens:
        piece = text.add(token)
        if piece is not None:
            pieces.append(piece.text)
        if text.stopped:
            return pieces
    last = text.finish()
    return [*pieces, last.text] if last else pieces


def test_characters_arrive_whole(tokenizer: Tokenizer) -> None:
    tokens = tokenizer.encode(HARD).ids
    assert len(tokens) > 1.5 * len(HARD)  # the characters are indeed spread over tokens
    pieces = show(ReplyText(tokenizer), tokens)
    assert "".join(pieces) == HARD
    assert all("\ufffd" not in piece and piece for piece in pieces)
    assert len(pieces) > 20


def test_half_a_character_at_the_end_is_left_out(tokenizer: Tokenizer) -> None:
    tokens = tokenizer.encode("ok 😀").ids
    assert "".join(show(ReplyText(tokenizer), tokens[:-1])) == "ok "


def test_special_tokens_are_not_text(tokenizer: Tokenizer) -> None:
    words = tokenizer.encode("a b").ids
    special = [number for number, token in tokenizer.get_added_tokens_decoder().items() if token.special]
    assert "".join(show(ReplyText(tokenizer), [special[0], *words, special[1], *words])) == "a ba b"


def test_a_continued_reply_keeps_its_first_space(tokenizer: Tokenizer) -> None:
    before = tokenizer.encode("The sky").ids
    after = tokenizer.encode(" is blue").ids
    assert "".join(show(ReplyText(tokenizer, continued=before), after)) == " is blue"


@pytest.mark.parametrize(
    ("stop", "shown"),
    [
        (("light",), "The air scatters "),
        (("air scatters l", "never"), "The "),
        (("。", "s l"), "The air scatter"),
        (("T",), ""),
        (("lighthouse",), "The air scatters light."),
        (("tt", "cat"), "The air s"),  # the one that begins first ends the reply, not the one that is listed first
    ],
)
def test_a_stop_string_is_never_shown(tokenizer: Tokenizer, stop: tuple[str, ...], shown: str) -> None:
    text = ReplyText(tokenizer, stop)
    pieces = show(text, tokenizer.encode("The air scatters light.").ids)
    assert "".join(pieces) == shown
    assert text.stopped == (shown != "The air scatters light.")


def test_logprobs_come_with_their_text_and_tell_nothing_of_a_stop_string(tokenizer: Tokenizer) -> None:
    text = ReplyText(tokenizer, ("ght",))
    seen, shown = [], ""
    for token in tokenizer.encode("air light").ids:
        piece = text.add(token, TokenLogprob(tokenizer.decode([token]), -1.0))
        if piece:
            shown += piece.text
            seen += [entry.token for entry in piece.logprobs]
        if text.stopped:
            break
    assert shown == "air li"
    assert "air light".startswith("".join(seen))
    assert "".join(seen)[: len(shown)] == shown or shown.startswith("".join(seen))
