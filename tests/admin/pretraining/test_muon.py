"""Our Muon does what torch's does, but in float32."""

from __future__ import annotations

import pytest
import torch

from chatbot.admin.pretraining.muon import Muon, orthogonalize


@pytest.mark.parametrize("shape", [(24, 24), (64, 24), (24, 64)])
def test_singular_values_come_near_one(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    short = min(shape)
    left, right = (torch.linalg.qr(torch.randn(3, side, short)).Q for side in shape)
    matrices = left @ torch.diag(torch.logspace(0, 1, short)) @ right.mT  # singular values from 1 to 10
    made = orthogonalize(matrices)
    assert made.shape == matrices.shape
    values = torch.linalg.svdvals(made)
    assert values.min() > 0.5
    assert values.max() < 1.3
    for one, alone in zip(made, matrices, strict=True):
        assert torch.allclose(one, orthogonalize(alone[None])[0], atol=1e-5)


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_the_steps_are_those_of_torch(decay: float) -> None:
    """torch iterates in bfloat16, which keeps two digits."""
    torch.manual_seed(0)
    start = [torch.randn(16, 16), torch.randn(48, 16), torch.randn(16, 16)]
    ours, theirs = ([torch.nn.Parameter(one.clone()) for one in start] for _ in range(2))
    first, second = Muon(ours, lr=0.02, weight_decay=decay), torch.optim.Muon(theirs, lr=0.02, weight_decay=decay)
    for _ in range(3):
        for a, b in zip(ours, theirs, strict=True):
            a.grad = torch.randn_like(a)
            b.grad = a.grad.clone()
        first.step()
        second.step()
    for begun, a, b in zip(start, ours, theirs, strict=True):
        moved = (b - begun).norm()
        assert (a - b).norm() < 0.05 * moved


def test_a_matrix_without_a_gradient_stays() -> None:
    still, moved = torch.nn.Parameter(torch.ones(4, 4)), torch.nn.Parameter(torch.ones(4, 4))
    moved.grad = torch.randn(4, 4)
    Muon([still, moved], lr=0.1).step()
    assert torch.equal(still.detach(), torch.ones(4, 4))
    assert not torch.equal(moved.detach(), torch.ones(4, 4))
