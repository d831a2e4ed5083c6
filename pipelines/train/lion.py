"""Lion: an optimizer that moves every weight by the same amount, and keeps one number for it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

KEPT = "momentum"
"""What a parameter's state holds, of its shape."""


class Lion(torch.optim.Optimizer):
    """EvoLved sIgn mOmeNtum (Chen et al., Symbolic Discovery of Optimization Algorithms, 2023, algorithm 2).

        c = b1 m + (1 - b1) g;    w = w - lr (sign(c) + decay w);    m = b2 m + (1 - b2) g

    The step of every value depends on that value's gradients alone, and where all of them were 0 it stays.
    """

    def __init__(self, groups: Iterable[dict[str, Any]], *, lr: float, betas: tuple[float, float]) -> None:
        """`groups` as torch's optimizers take them; each has its own `weight_decay`."""
        super().__init__(groups, {"lr": lr, "betas": betas, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Move the parameters that have a gradient."""
        assert closure is None
        for group in self.param_groups:
            moving = [p for p in group["params"] if p.grad is not None]
            if not moving:
                continue
            for p in moving:
                if not self.state[p]:
                    self.state[p][KEPT] = torch.zeros_like(p)
            kept, gradients = [self.state[p][KEPT] for p in moving], [p.grad for p in moving]
            first, second = group["betas"]
            direction = torch._foreach_lerp(kept, gradients, 1 - first)
            torch._foreach_sign_(direction)
            torch._foreach_mul_(moving, 1 - group["lr"] * group["weight_decay"])
            torch._foreach_add_(moving, direction, alpha=-group["lr"])
            torch._foreach_lerp_(kept, gradients, 1 - second)
