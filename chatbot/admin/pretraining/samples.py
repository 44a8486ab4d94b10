"""What the model writes by now: a look that needs no figures."""

from __future__ import annotations

from typing import Any

from chatbot.admin.pretraining.windows import Tokens
from chatbot.models.template import ChatTemplate

_PROMPT = 12  # tokens of a held-out text
_LENGTH = 48
_TEMPERATURE = 0.8


class Sampler:
    """Has a model go on with the beginning of a text."""

    def __init__(self, template: ChatTemplate, tokens: Tokens, seed: int) -> None:
        self._template = template
        self._tokens = tokens
        self._seed = seed

    def __call__(self, model: Any, step: int) -> tuple[str, str]:
        """(beginning, what the model writes on). Draws random numbers: the caller keeps its own apart."""
        import torch

        device = next(model.parameters()).device
        ids = self._tokens.window(0, min(_PROMPT, len(self._tokens)))
        torch.manual_seed(self._seed + step)
        written = torch.from_numpy(ids[None]).to(device)
        window = model.config.max_position_embeddings
        with torch.no_grad():
            # Without a cache: a few dozen tokens are quick enough, and no setting of the model's own has a say.
            for _ in range(_LENGTH):
                logits = model(input_ids=written[:, -window:], use_cache=False).logits[:, -1].float()
                shares = torch.softmax(logits / _TEMPERATURE, dim=-1)
                if not bool(torch.isfinite(shares).all()):
                    break  # the training went astray; its loss says so
                drawn = torch.multinomial(shares, 1)
                if int(drawn) in self._template.stop_ids:
                    break
                written = torch.cat([written, drawn], dim=1)
        return self._template.decode(ids.tolist()), self._template.decode(written[0, len(ids) :].tolist())
