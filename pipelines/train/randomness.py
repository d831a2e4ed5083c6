"""Dropout that does not know how the model was cut.

Every unit of every micro-batch draws from its own stream, so a mask depends on (run seed, step,
micro-batch, unit) and on nothing else: not on which stage runs the unit, nor on what ran before it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class Stream:
    """The random numbers of one micro-batch."""

    seed: int
    step: int
    micro_batch: int
    device: torch.device

    def enter(self, place: str) -> None:
        """Restart the device's generator at the beginning of `place` (a unit, or the glue behind one)."""
        key = f"{self.seed}/{self.step}/{self.micro_batch}/{place}"
        number = int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little")
        _generator(self.device).manual_seed(number >> 1)


def _generator(device: torch.device) -> torch.Generator:
    # Not torch.manual_seed: it queues a call for every CUDA device even where there is none.
    if device.type == "cuda":
        return torch.cuda.default_generators[device.index or 0]
    return torch.default_generator
