"""How a conversation becomes the token ids that a model reads: the one renderer.

Chat, dataset building, training and evaluation all render here, because a model answers well only to the format that it
was trained on. It lives beside the models, below the engine and the dialogue, since both need it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message as the model is to read it."""

    role: Role
    content: str
