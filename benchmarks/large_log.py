"""Builds a log of a million messages, for the benchmarks that look things up in it. Kept between runs.

    python benchmarks/large_log.py [--messages 1000000] [--folder .cache/large_log]

The words are made up and as frequent as in a natural language (Zipf's law): a fifth of the messages is in Chinese
letters. Ratings, failed replies and measured probabilities are as rare as in a real log.
"""

from __future__ import annotations

import argparse
import itertools
import random
import sys
import time
from bisect import bisect
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from chatbot.store.archive_records import (
    ArchivedConversation,
    ArchivedFeedback,
    ArchivedMessage,
    ArchivedReview,
)
from chatbot.store.database import Store
from chatbot.store.migrations import open_upgraded

SEED = 7
PER_CONVERSATION = 20
_BEGIN = datetime(2024, 11, 1, tzinfo=UTC)
_ONSETS = ("b", "c", "d", "f", "g", "h", "k", "l", "m", "n", "p", "r", "s", "t", "v", "w", "st", "tr", "pl", "sh", "")
_VOWELS = ("a", "e", "i", "o", "u", "ea", "ou")
_CODAS = ("", "", "n", "r", "s", "t", "l", "nd", "rk")


class Words:
    """A vocabulary in which the n-th word is used 1/n as often as the first."""

    def __init__(self, words: list[str], draw: random.Random) -> None:
        self.words = words
        self._draw = draw
        self._sums = list(itertools.accumulate(1 / (rank + 2) for rank in range(len(words))))

    def take(self, count: int) -> list[str]:
        draw, sums, total = self._draw.random, self._sums, self._sums[-1]
        return [self.words[bisect(sums, draw() * total)] for _ in range(count)]


class Writer:
    """Makes conversations, the same ones each time."""

    def __init__(self) -> None:
        self.draw = random.Random(SEED)
        self.latin = Words(self._make_words(60_000), self.draw)
        self.chinese = Words([chr(0x4E00 + 7 * rank % 6000) for rank in range(3500)], self.draw)

    def _make_words(self, count: int) -> list[str]:
        words: dict[str, None] = {}
        while len(words) < count:
            length = 1 + (len(words) > 60) + (len(words) > 3000)
            parts = (self.draw.choice(kind) for _ in range(length) for kind in (_ONSETS, _VOWELS, _CODAS))
            words.setdefault("".join(parts))
        return list(words)

    def write_text(self) -> str:
        if self.draw.random() < 0.2:
            return "".join(self.chinese.take(self.draw.randint(10, 120)))
        return " ".join(self.latin.take(self.draw.randint(4, 60)))

    def write(self, number: int, moment: datetime) -> ArchivedConversation:
        messages = []
        for place in range(PER_CONVERSATION):
            moment += timedelta(seconds=self.draw.randint(5, 90))
            reply = place % 2 == 1
            chance = self.draw.random()
            generation = {"mean_logprob": -self.draw.gammavariate(4, 0.12), "compression_ratio": 1.2 + chance,
                          "tokens_per_second": 10 + 10 * chance, "completion_tokens": 80} if reply else {}  # fmt: skip
            feedback = (ArchivedFeedback(rating=-1 if chance < 0.004 else 1, author="a", created=moment),)
            messages.append(
                ArchivedMessage(
                    key=str(place),
                    parent=str(place - 1) if place else None,
                    role="assistant" if reply else "user",
                    content=self.write_text(),
                    created=moment,
                    status="failed" if reply and 0.5 < chance < 0.505 else "complete",
                    finish_reason="length" if reply and chance > 0.98 else "stop" if reply else "",
                    model=("small", "small-2", "small-3")[number % 3] if reply else "",
                    generation=generation,
                    feedback=feedback if reply and chance < 0.01 else (),
                    reviews=(ArchivedReview("approve", author="a", created=moment),)
                    if reply and 0.2 < chance < 0.202
                    else (),
                )
            )
        title = " ".join(self.latin.take(5))
        persona = ("default", "tutor", "concise", "default")[number % 4] if number % 500 else "rare"
        return ArchivedConversation(f"large:{number}", tuple(messages), title=title, persona=persona)


def write_log(count: int) -> Iterator[ArchivedConversation]:
    """Conversations with `count` messages in all, oldest first."""
    writer = Writer()
    conversations = count // PER_CONVERSATION
    step = timedelta(days=730) / max(1, conversations)
    for number in range(conversations):
        yield writer.write(number, _BEGIN + number * step)


def open_large_log(folder: Path, messages: int) -> Store:
    """The store with that log, built if it is not there."""
    path = folder / f"{messages}.db"
    if not path.exists():
        partial = folder / f"{messages}.partial.db"
        partial.unlink(missing_ok=True)
        began = time.perf_counter()
        with open_upgraded(f"sqlite:///{partial}") as store:
            done = 0
            log = write_log(messages)
            while batch := list(itertools.islice(log, 250)):
                done += store.archive.add(batch, source="large").messages
                sys.stderr.write(f"\r{done:,} of {messages:,} messages, {time.perf_counter() - began:.0f} s ")
        sys.stderr.write("\n")
        partial.rename(path)
    return open_upgraded(f"sqlite:///{path}")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, default=Path(__file__).parent.parent / ".cache" / "large_log")
    return parser.parse_args()


if __name__ == "__main__":
    arguments = parse_arguments()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    open_large_log(arguments.folder, arguments.messages).close()
