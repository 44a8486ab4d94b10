"""The model that is looked into: the very modules that answer in a chat, told to keep what they otherwise throw away.

Attention is computed by kernels that never hold the whole map. Only the plain way, `eager`, gives it out, and it is the
same mathematics. Weights are in float32, so that a row of the map sums to one and not to nearly one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chatbot.engine.loading import count_threads, is_out_of_memory, load_model
from chatbot.errors import InvalidInput, ModelRefused, OutOfMemory
from chatbot.models.library import ModelFolder, ModelLibrary
from chatbot.models.template import ChatMessage, ChatTemplate
from chatbot.text import printable_line

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chatbot.config import EngineSettings

MOST_TOKENS = 256
"""A map has as many cells as the square of it, for each head of each layer."""


@dataclass(frozen=True, slots=True)
class Pass:
    """What one pass over T tokens left, as float32 arrays."""

    attention: dict[int, NDArray[Any]]
    """By layer, (heads, T, T): row i is what the token i looks at. A layer without such a map, as some models mix them
    in, is not there."""
    logits: NDArray[Any]
    """(vocabulary,), behind the last token."""


class Subject:
    """A model in memory."""

    def __init__(self, name: str, module: Any) -> None:
        self.name = name
        self.module = module

    @property
    def embedding(self) -> Any:
        """The tensor (vocabulary, width) that makes a vector of a token."""
        return self.module.get_input_embeddings().weight.detach()

    def read(self, ids: Sequence[int]) -> Pass:
        """One pass over `ids`. Raises OutOfMemory, ModelRefused."""
        import torch

        tokens = torch.tensor([list(ids)], device=self.embedding.device)
        try:
            with torch.inference_mode():
                found = self.module(input_ids=tokens, output_attentions=True, use_cache=False)
        except (RuntimeError, MemoryError) as error:
            if is_out_of_memory(error):
                raise OutOfMemory(
                    f"The attention maps of {len(ids):,} tokens do not fit into memory.", hint="Give a shorter text."
                ) from error
            raise
        except (ValueError, TypeError, NotImplementedError) as error:
            reason = printable_line(str(error), 200)
            raise ModelRefused(f"{self.name} does not give out its attention: {reason}") from error
        maps = {
            layer: one[0].float().cpu().numpy()
            for layer, one in enumerate(found.attentions or ())
            if one is not None and one.dim() == 4
        }
        return Pass(maps, found.logits[0, -1].float().cpu().numpy())


def load_subject(library: ModelLibrary, name: str, settings: EngineSettings) -> Subject:
    """The model `name`, an adapter with its base, every file checked. Takes seconds.

    Raises ModelNotFound, ModelDamaged, ModelRefused, OutOfMemory or EngineUnavailable.
    """
    import torch

    folder = library.find_verified(name)
    torch.set_num_threads(count_threads(settings.threads))
    loaded = load_model(folder.foundation, settings.model_copy(update={"dtype": "float32"}))
    if folder.base is not None:
        from chatbot.engine.adapters import attach_adapter

        loaded = attach_adapter(loaded, folder)
    module = loaded.decoder.module
    try:
        module.set_attn_implementation("eager")
    except (ValueError, NotImplementedError, AttributeError) as error:
        reason = printable_line(str(error), 200)
        raise ModelRefused(f"{name} cannot compute its attention the plain way: {reason}") from error
    return Subject(name, module)


def encode(folder: ModelFolder, template: ChatTemplate, text: str, *, chat: bool = False) -> list[int]:
    """The ids of `text` as it stands, or of a conversation that begins with it; of a model that goes on with text, what
    it reads when it is asked, the beginning of a document with it. Raises InvalidInput if there is nothing to read, or
    too much."""
    if not text:
        raise InvalidInput("There is no text to explain.", hint='Give one: chatbot explain "The sky is".')
    if chat or template.completes:
        ids = template.encode([ChatMessage("user", text)])
    else:
        ids = list(template.tokenizer.encode(text).ids)
    most = min(MOST_TOKENS, folder.context or MOST_TOKENS)
    if len(ids) > most:
        raise InvalidInput(
            f"The text has {len(ids):,} tokens; at most {most} can be looked at, since attention makes a map of every "
            "token by every other.",
            hint="Give a shorter text.",
        )
    if not ids:
        raise InvalidInput("The tokenizer makes no token of the text.", hint="Give another text.")
    return ids
