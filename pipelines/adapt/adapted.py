"""A model with an adapter on it: what the driver asks of one, whichever library it comes from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import nn

ADAPTER = "adapter"
"""The folder that holds an adapter: in a run's folder, and in a model's folder one that is no part of the weights."""


class Adapted(ABC):
    """Made by `attach`."""

    model: nn.Module
    """What is traced, cut and trained."""
    beside: bool
    """Whether the adapter cannot be worked into the weights and stays beside the model."""
    num_virtual_tokens: int = 0
    """How many positions the adapter takes of those that the model has."""

    @abstractmethod
    def save(self, folder: Path, ranks: Mapping[str, Sequence[bool]]) -> None:
        """Write the whole adapter.

        Args:
            ranks: AdaLoRA's ranks that are left, by the name of their `lora_E`; empty for others.
        """

    @abstractmethod
    def plain(self) -> nn.Module:
        """The model as transformers makes it, with the adapter worked into its weights unless it stays `beside`.

        A head that was trained with the adapter is in its place. `self` is of no use afterwards.
        """
