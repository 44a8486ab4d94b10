"""From token ids to the text that a reader may see, piece by piece.

A character can be spread over several tokens and a stop string too: text is held back until the character is whole,
and until what ends it can no longer be the beginning of a stop string.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from chatbot.engine.protocol import Piece, TokenLogprob

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_CONTEXT = 8  # tokens of the prompt that a continued reply is decoded after, for spaces that depend on them


class ReplyText:
    """The text of one reply as it grows. `stopped` is set when a stop string was met: its reader asks no more."""

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str] = (), continued: Sequence[int] = ()) -> None:
        """`continued`: the prompt's token ids if the reply goes on in the middle of a message."""
        from tokenizers.decoders import DecodeStream

        self.stopped = False
        self._tokenizer = tokenizer
        self._stop = tuple(stop)
        self._context = list(continued[-_CONTEXT:])
        self._stream = DecodeStream(ids=self._context, skip_special_tokens=True)
        self._held = ""
        self._logprobs: list[tuple[int, TokenLogprob]] = []  # with the place in `_held` where the token begins

    def add(self, token: int, logprob: TokenLogprob | None = None) -> Piece | None:
        """The next piece that can be shown, or None while there is none."""
        if logprob is not None:
            self._logprobs.append((len(self._held), logprob))
        self._held += self._stream.step(self._tokenizer, token) or ""
        place = min((found for stop in self._stop if (found := self._held.find(stop)) >= 0), default=-1)
        if place >= 0:
            self.stopped = True
            self._held = self._held[:place]
            self._logprobs = [entry for entry in self._logprobs if entry[0] < place]
            return self._release(0)
        return self._release(self._count_held_back())

    def finish(self) -> Piece | None:
        """What was held back, at the end of the reply. Half a character is left out."""
        return self._release(0)

    def _count_held_back(self) -> int:
        """The length of the longest end of the text that may be the beginning of a stop string."""
        longest = 0
        for stop in self._stop:
            for length in range(min(len(stop) - 1, len(self._held)), longest, -1):
                if stop.startswith(self._held[-length:]):
                    longest = length
                    break
        return longest

    def _release(self, keep: int) -> Piece | None:
        text, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        if not text and (keep or not self._logprobs):
            return None
        shown = tuple(logprob for place, logprob in self._logprobs if place < len(text) or not keep)
        self._logprobs = [(place - len(text), logprob) for place, logprob in self._logprobs[len(shown) :]]
        return Piece(text, shown)
