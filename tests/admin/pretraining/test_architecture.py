"""The formulas that a reader learns from are those of the model that is made."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from chatbot.admin.pretraining.architecture import SIZES, Architecture, read_architecture
from chatbot.admin.pretraining.network import make_model
from chatbot.errors import InvalidInput
from tests.admin.pretraining.texts import TINY, make_config


@pytest.mark.parametrize("architecture", [TINY, replace(TINY, tied=False), SIZES["nano"]])
def test_the_count_of_parameters_is_that_of_the_model(architecture: Architecture) -> None:
    model = make_model(make_config(architecture=architecture), 99, 0)
    assert architecture.count_parameters(99) == sum(weight.numel() for weight in model.parameters())


def test_the_sizes_reach_from_under_a_million_to_a_billion() -> None:
    counted = [one.check().count_parameters(8192) for one in SIZES.values()]
    assert counted == sorted(counted)
    assert SIZES["nano"].count_parameters(100) < 1e6
    assert 9e6 < SIZES["micro"].count_parameters(8192) < 11e6
    assert counted[-1] > 9e8


def test_a_file_describes_a_model(tmp_path: Path) -> None:
    path = tmp_path / "model.toml"
    path.write_text("layers = 3\nwidth = 96\nheads = 3\n")
    found = read_architecture(path)
    assert (found.layers, found.width, found.kv_heads, found.hidden) == (3, 96, 3, 256)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("layers = 3\nwings = 2\n", "'wings' is nothing"),
        ('layers = "3"\n', "layers must be a number"),
        ("layers = true\n", "layers must be a number"),
        ("width = 100\nheads = 3\n", "cannot be shared by 3 heads"),
        ("heads = 4\nkv_heads = 3\n", "cannot share 3"),
        ("layers = 0\n", "between 1 and"),
        ("layers", "is no TOML"),
        ("layers = -9999999999999\n", "between 1 and"),
    ],
)
def test_nonsense_is_named(text: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "model.toml"
    path.write_text(text)
    with pytest.raises(InvalidInput, match=reason):
        read_architecture(path)


def test_the_same_seed_makes_the_same_model_whatever_was_drawn_before() -> None:
    import torch

    first = make_model(make_config(seed=3), 50, 0).state_dict()
    torch.rand(7)
    second = make_model(make_config(seed=3), 50, 0).state_dict()
    other = make_model(make_config(seed=4), 50, 0).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)
