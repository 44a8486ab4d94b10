"""Muon for the matrices, AdamW for the rest, as one optimizer.

Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/) takes the momentum of a matrix' gradient and makes
all its singular values about one, by five steps of a Newton–Schulz iteration, before it is added: directions that the
gradient seldom points to are learnt as fast as the others. For hidden matrices it needs fewer tokens than AdamW to the
same loss; the embedding and the scales, which are tables and vectors rather than maps, stay with AdamW.

torch brings a Muon of its own. It treats one matrix after the other in bfloat16, which a CPU without instructions for
it does at a hundredth of its speed; here matrices of one shape go through the iteration together, in float32 on a CPU.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch

_A, _B, _C = 3.4445, -4.7750, 2.0315  # of the quintic; chosen there for the steepest rise at zero
_STEPS = 5


def orthogonalize(matrices: torch.Tensor) -> torch.Tensor:
    """Each of `matrices`, shape (n, rows, columns), with singular values near one. In bfloat16 on a GPU."""
    rows, columns = matrices.shape[-2:]
    x = matrices.mT if rows > columns else matrices
    if x.is_cuda:
        x = x.bfloat16()
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(_STEPS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=_B, alpha=_C), x, beta=_A)
    return (x.mT if rows > columns else x).to(matrices.dtype)


class Muon(torch.optim.Optimizer):  # type: ignore[misc]
    """Of hidden matrices. `lr` is the length of a step for a square matrix; a tall one's is √(rows/columns) longer."""

    def __init__(
        self, matrices: Iterable[torch.nn.Parameter], *, lr: float, momentum: float = 0.95, weight_decay: float = 0.0
    ) -> None:
        super().__init__(list(matrices), {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    def step(self, closure: Any = None) -> None:
        assert closure is None
        with torch.no_grad():
            for group in self.param_groups:
                by_shape: dict[torch.Size, list[torch.nn.Parameter]] = {}
                for matrix in group["params"]:
                    if matrix.grad is not None:
                        by_shape.setdefault(matrix.shape, []).append(matrix)
                for shape, matrices in by_shape.items():
                    self._step_shape(shape, matrices, group)

    def _step_shape(self, shape: torch.Size, matrices: list[torch.nn.Parameter], group: Mapping[str, Any]) -> None:
        lr, momentum = group["lr"], group["momentum"]
        updates = []
        for matrix in matrices:
            state = self.state[matrix]
            if "momentum" not in state:
                state["momentum"] = torch.zeros_like(matrix)
            buffer = state["momentum"]
            buffer.lerp_(matrix.grad, 1 - momentum)
            updates.append(matrix.grad.lerp(buffer, momentum))  # Nesterov's look ahead
        scale = max(1.0, shape[0] / shape[1]) ** 0.5
        for matrix, update in zip(matrices, orthogonalize(torch.stack(updates)).unbind(), strict=True):
            if group["weight_decay"]:
                matrix.mul_(1 - lr * group["weight_decay"])
            matrix.add_(update, alpha=-lr * scale)
