"""The state of a training loop as tensors and JSON, and back.

What makes the next step: the trained weights, the optimizer's moments, the learning rate's place, and the random
numbers to come. Each function here takes one of them apart into what safetensors and JSON can hold.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch


def read_trained(model: Any, *, adapter: str) -> dict[str, torch.Tensor]:
    """A copy of the adapter's weights by their names in `model`, on the CPU."""
    mark = f".{adapter}."
    return {name: value.detach().cpu().clone() for name, value in model.named_parameters() if mark in name}


def write_trained(model: Any, weights: dict[str, torch.Tensor], *, adapter: str) -> None:
    """The reverse. Raises KeyError if a weight is missing, RuntimeError if its shape differs."""
    mark = f".{adapter}."
    with torch.no_grad():
        for name, value in model.named_parameters():
            if mark in name:
                value.copy_(weights[name])


def read_optimizer(optimizer: Any) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The moments as tensors, and the settings as JSON."""
    state = optimizer.state_dict()
    tensors, numbers = {}, {}
    for index, moments in state["state"].items():
        for name, value in moments.items():
            if torch.is_tensor(value):
                tensors[f"{index}.{name}"] = value.detach().cpu().clone()
            else:
                numbers[f"{index}.{name}"] = value
    return tensors, {"groups": state["param_groups"], "numbers": numbers}


def write_optimizer(optimizer: Any, tensors: dict[str, torch.Tensor], settings: dict[str, Any]) -> None:
    """The reverse. Raises KeyError or ValueError if they are another optimizer's."""
    moments: dict[int, dict[str, Any]] = {}
    for key, value in {**tensors, **settings["numbers"]}.items():
        index, _, name = key.partition(".")
        moments.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": moments, "param_groups": settings["groups"]})


def read_random() -> tuple[torch.Tensor, dict[str, Any]]:
    """PyTorch's generators as one row of bytes for each (the CPU's first), those of Python and NumPy as JSON."""
    kind, keys, place, has_gauss, gauss = np.random.get_state(legacy=True)
    version, numbers, following = random.getstate()
    return torch.get_rng_state(), {
        "python": [version, list(numbers), following],
        "numpy": [str(kind), [int(key) for key in keys], int(place), int(has_gauss), float(gauss)],
    }


def write_random(state: torch.Tensor, others: dict[str, Any]) -> None:
    """The reverse."""
    torch.set_rng_state(state.clone())  # it reads from where the storage begins, also if `state` is one of several rows
    version, numbers, following = others["python"]
    random.setstate((version, tuple(numbers), following))
    kind, keys, place, has_gauss, gauss = others["numpy"]
    np.random.set_state((kind, np.array(keys, dtype=np.uint32), place, has_gauss, gauss))
