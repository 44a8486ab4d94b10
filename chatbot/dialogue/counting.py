"""How many tokens a text takes: exactly for a model on this disk, by estimate for a remote server's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from chatbot.models.template import ChatMessage, ChatTemplate

_MESSAGE_TOKENS = 8  # role, marks of beginning and end: 4 to 7 in the templates that are usual
_STEP = 16_384  # characters


class TokenCounter(Protocol):
    exact: bool

    def cost(self, text: str, *, stop_at: int) -> int:
        """What one message takes, marks included, never too little by much; counting ends once it is past `stop_at`,
        so that a text of a megabyte is refused in milliseconds."""
        ...

    def count(self, messages: Sequence[ChatMessage]) -> int:
        """What the whole prompt takes."""
        ...

    def count_text(self, text: str) -> int:
        """What a piece of a reply takes, without marks."""
        ...


class ExactCounter:
    """Counts with the model's own tokenizer and template."""

    exact = True

    def __init__(self, template: ChatTemplate) -> None:
        self._template = template

    def cost(self, text: str, *, stop_at: int) -> int:
        total = _MESSAGE_TOKENS
        for start in range(0, len(text), _STEP):
            part = text[start : start + _STEP]
            total += len(self._template.tokenizer.encode(part, add_special_tokens=False).ids)
            if total > stop_at:
                break
        return total

    def count(self, messages: Sequence[ChatMessage]) -> int:
        return len(self._template.encode(messages))

    def count_text(self, text: str) -> int:
        return len(self._template.tokenizer.encode(text, add_special_tokens=False).ids)


class EstimatingCounter:
    """Guesses from the letters: three of the Latin alphabet to a token, one of any other. Real tokenizers take about
    four and one; the guess is on the side where a prompt fits."""

    exact = False

    def cost(self, text: str, *, stop_at: int) -> int:
        total = _MESSAGE_TOKENS
        for start in range(0, len(text), _STEP):
            total += self.count_text(text[start : start + _STEP])
            if total > stop_at:
                break
        return total

    def count(self, messages: Sequence[ChatMessage]) -> int:
        return sum(self.cost(message.content, stop_at=1 << 30) for message in messages)

    def count_text(self, text: str) -> int:
        latin = len(text.encode("ascii", "ignore"))
        return -(-latin // 3) + len(text) - latin
