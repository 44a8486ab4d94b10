"""What will train and what will not, and why: the one rule, for the review screen and for whoever builds datasets.

Nothing trains before someone approved it; the newest decision counts. What a person approved trains however it was
rated, because the decision was made with the reply in sight.
"""

from __future__ import annotations

from dataclasses import dataclass

from chatbot.store.records import Message


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
        case "approve":
            return TrainingUse(True, "approved")
        case "reject":
            return TrainingUse(False, "rejected")
        case "redact":
            return TrainingUse(False, "redacted since it was looked at, not yet approved")
        case _:
            return TrainingUse(False, "nobody has approved it yet")
