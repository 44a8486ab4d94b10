"""What will train and what will not, and why: the one rule, for the review screen and for whoever builds datasets.

Nothing trains before someone approved it; the newest decision counts. What somebody rated down does not train even so:
two people disagree, or one changed their mind, and a reply that nobody would give again is no loss.
"""

from __future__ import annotations

from dataclasses import dataclass

from chatbot.store.records import Message

RATED_DOWN = "approved but rated down"


@dataclass(frozen=True, slots=True)
class TrainingUse:
    """Whether a reply trains; `reason` completes the sentence “trains: …” or “does not train: …”."""

    trains: bool
    reason: str


def decide_use(reply: Message, *, in_bin: bool = False) -> TrainingUse:
    """The use of a reply as it stands."""
    if in_bin:
        return TrainingUse(False, "its conversation is in the bin")
    if reply.role != "assistant":
        return TrainingUse(False, "a prompt is read with its reply, not learnt")
    if reply.status == "streaming":
        return TrainingUse(False, "it is still being written")
    if not reply.content.strip():
        return TrainingUse(False, "it says nothing")
    match reply.decision:
        case "approve" if reply.rating < 0:
            return TrainingUse(False, RATED_DOWN)
        case "approve":
            return TrainingUse(True, "approved")
        case "reject":
            return TrainingUse(False, "rejected")
        case "redact":
            return TrainingUse(False, "redacted since it was looked at, not yet approved")
        case _:
            return TrainingUse(False, "nobody has approved it yet")
