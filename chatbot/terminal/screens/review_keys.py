"""The keys of the review, in one table: what they do, what the hint line says, what the help says.

One hand reaches all of them, and none needs a modifier: two hundred replies a day are a thousand keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ReviewKey:
    """`name` with `action_` before it is a method of the review screen."""

    name: str
    keys: str
    """Textual's names, separated by commas."""
    shown: str
    hint: str
    """A word for the hint line."""
    title: str
    """A sentence for the help."""


REVIEW_KEYS = (
    ReviewKey("approve", "a", "a", "approve", "Approve: it trains"),
    ReviewKey("reject", "x", "x", "reject", "Reject: it never trains"),
    ReviewKey(
        "correct", "e", "e", "correct", "Correct: write it as it should have been; your text trains in its place"
    ),
    ReviewKey("redact", "r", "r", "redact", "Redact: mask personal data in the whole conversation, after a preview"),
    ReviewKey("tag", "t", "t", "tags", "Tags"),
    ReviewKey("comment", "c", "c", "comment", "A comment"),
    ReviewKey("rate_up", "plus,equals_sign", "+", "", "Rate up; again takes it back"),
    ReviewKey("rate_down", "minus,underscore", "−", "", "Rate down; again takes it back"),
    ReviewKey("undo", "u,z", "u", "undo", "Take the last step back, as often as you like"),
    ReviewKey("next", "s,right", "s", "next", "Skip: it stays in the queue (also →)"),
    ReviewKey("previous", "left", "←", "back", "The one before, also what you have decided"),
    ReviewKey("show_tokens", "v", "v", "tokens", "The reply's tokens by probability, and going on from an alternative"),
    ReviewKey("choose_filter", "f", "f", "filter", "Which replies the queue holds"),
    ReviewKey("approve_all", "b", "b", "bulk", "Bulk: approve all that wait and that the filter means"),
    ReviewKey("toggle_list", "l", "l", "list", "Show or hide the queue as a list"),
    ReviewKey("open_chat", "g,enter", "g", "chat", "Go to the conversation in the chat (also Enter)"),
    ReviewKey("retry", "f5", "F5", "", "Try again what failed"),
    ReviewKey("show_help", "question_mark,f1", "?", "help", "This help"),
    ReviewKey("leave", "q", "q", "leave", "Leave; Esc, too, goes back to the chat"),
)

BY_KEY: Mapping[str, ReviewKey] = {key: entry for entry in REVIEW_KEYS for key in entry.keys.split(",")}


END_HINTS = [("←", "back"), ("u", "undo"), ("f", "filter"), ("F5", "look again"), ("?", "help"), ("q", "leave")]
"""Where there is no reply."""


def list_hints(*, over_chat: bool) -> list[tuple[str, str]]:
    """Keys and words for the hint line."""
    hints = []
    for entry in REVIEW_KEYS:
        if entry.name == "rate_up":
            hints.append(("+−", "rate"))
        elif entry.hint and (over_chat or entry.name != "open_chat"):
            hints.append((entry.shown, entry.hint))
    return hints
