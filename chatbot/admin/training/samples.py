"""Short greedy replies to held-out prompts: what a curve cannot show.

Greedy, so that they take nothing from the random numbers of the training and a resumed run shows the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from chatbot.models.template import ChatTemplate


def make_sampler(
    template: ChatTemplate, prompts: Sequence[tuple[str, Sequence[int]]], limit: int
) -> Callable[[Any, int], tuple[str, str]]:
    """A function from a model and a number to (prompt, reply), both '' if there is no prompt of that number.

    `prompts` are texts and their token ids as the chat sends them; a reply has at most `limit` tokens.
    """

    def sample(model: Any, number: int) -> tuple[str, str]:
        if number >= len(prompts):
            return "", ""
        text, ids = prompts[number]
        return text, template.decode(generate(model, ids, template.stop_ids, limit))

    return sample


def generate(model: Any, prompt: Sequence[int], stop_ids: frozenset[int], limit: int) -> list[int]:
    """The likeliest tokens after `prompt`, up to a stop id or `limit` of them."""
    import torch

    device = next(model.parameters()).device
    reply: list[int] = []
    cache = None
    step = torch.tensor([list(prompt)], device=device)
    with torch.no_grad():
        while len(reply) < limit:
            output = model(input_ids=step, past_key_values=cache, use_cache=True, logits_to_keep=1)
            cache = output.past_key_values
            token = int(output.logits[0, -1].argmax())
            if token in stop_ids:
                break
            reply.append(token)
            step = torch.tensor([[token]], device=device)
    return reply
