"""What the rest of the program knows of a language model: one method that streams, one that scores, a few that tell.

Two engines keep this promise: `client.EngineClient`, which speaks the OpenAI chat protocol to our own server or to any
other, and `scripted.ScriptedEngine`, which replays a script, so that no test of another room patches anything.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Literal, Protocol

from chatbot.errors import InvalidInput
from chatbot.models.template import ChatMessage

FinishReason = Literal["stop", "length"]

SAMPLING_BOUNDS: dict[str, tuple[float, float]] = {
    "temperature": (0.0, 100.0),
    "top_p": (0.0, 1.0),
    "top_k": (0, 1 << 30),
    "min_p": (0.0, 1.0),
    "repetition_penalty": (0.01, 100.0),
    "seed": (-(1 << 63), (1 << 64) - 1),
    "max_tokens": (1, 1 << 30),
    "top_logprobs": (0, 20),
}
"""What each number of a Sampling may be: for the command line, personas and requests alike."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is drawn. None leaves the choice to the model's own generation_config.json."""

    temperature: float | None = None
    """0 takes the most probable token each time."""
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    seed: int | None = None
    """The same seed, prompt and model give the same text."""
    max_tokens: int | None = None
    """None: as many as the window still holds."""
    stop: tuple[str, ...] = ()
    """The reply ends before the first of these strings."""
    top_logprobs: int | None = None
    """None: no log-probabilities; 0: those of the drawn tokens; n ≤ 20: of the n most probable ones too."""

    def __post_init__(self) -> None:
        """Raises InvalidInput for a number outside SAMPLING_BOUNDS, so that nothing is written down for such a turn."""
        for name, (low, high) in SAMPLING_BOUNDS.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:  # also what is no number at all
                raise InvalidInput(f"{name} must be between {low} and {high}; it is {value}.")
        if "" in self.stop:
            raise InvalidInput("An empty stop string would stop every reply before it begins.")


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """One reply to be generated. `messages` ends with the user's, or with the assistant's own if it is to go on."""

    model: str
    messages: tuple[ChatMessage, ...]
    sampling: Sampling = Sampling()
    continue_last: bool = False
    """True: the last message is an unfinished reply of the assistant; only what follows it is generated."""


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """One token and how probable it was: natural logarithms from the model's own distribution, before temperature,
    penalty and cuts."""

    token: str
    """Its text. A part of a character has none of its own: as it is drawn it reads U+FFFD; in a score it is empty, and
    the token that completes the character has all of it."""
    logprob: float
    top: tuple[tuple[str, float], ...] = ()
    """The most probable tokens at this place. Without text: the end of the reply or another mark; with a U+FFFD: what
    makes no whole character, and nothing that a reply could go on from."""


@dataclass(frozen=True, slots=True)
class Piece:
    """The next piece of text: whole characters, never empty but for its log-probabilities."""

    text: str
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class Finished:
    """The last thing a stream yields."""

    reason: FinishReason
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    """How many of the prompt's tokens were still in the KV cache of an earlier turn."""


@dataclass(frozen=True, slots=True)
class EngineModel:
    """A model that the engine can answer with."""

    name: str
    context: int
    """The window in tokens; 0 if the server does not say."""


@dataclass(frozen=True, slots=True)
class Health:
    """`loading` while weights are read; `detail` is one line for a person: device, dtype, or why it failed."""

    status: Literal["starting", "loading", "ready", "failed"]
    detail: str = ""
    model: str = ""


class Engine(Protocol):
    """Generates replies. Every method raises EngineError or ModelError, never a library's exception."""

    def stream(self, request: GenerationRequest) -> AsyncGenerator[Piece | Finished, None]:
        """Yields pieces, then one Finished. Closing the generator stops the computation."""
        ...

    async def score(self, request: GenerationRequest) -> tuple[TokenLogprob, ...]:
        """How probable each token of a reply is to the model: the last of `request.messages`, with `continue_last`.

        The reply is read once, not written anew, so it may be anybody's. The texts of the tokens joined are the reply.
        Of `request.sampling` only `top_logprobs` counts. Raises RequestRefused if this engine cannot tell, or if the
        messages end with no reply. Cancelling stops the computation.
        """
        ...

    async def models(self) -> list[EngineModel]: ...

    async def health(self) -> Health: ...

    async def warm(self, model: str) -> None:
        """Starts loading `model` so that the first reply need not wait; returns at once."""
        ...

    async def close(self) -> None: ...
