"""Copies of what every owner of weights holds, in the memory of the nodes: a lost owner is replaced from them.

    steps        0 · · · · 10 · · · · 20 · · 23 ✗
    copies       ●         ●          ●               all owners' of one version; older ones are let go
    after a loss                      ●──▶ 20 21 22   everybody goes back to it, and these are run again

A copy lies in the store of the node where it was made, outside the process that it was made of, and belongs to the
driver: it outlives that process. It is made between two steps; the driver does not wait for it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import ray
import torch
from ray.exceptions import RayError
from torch import Tensor

from cluster.waiting import wait_for
from pipelines.train.parameter_shards import joined

Named = Iterable[tuple[str, Tensor]]
TRIES = 2
"""How often a set of copies is taken that could not be used."""
Made = tuple["ray.ObjectRef[int]", "ray.ObjectRef[Copy]"]
"""What making a copy gives: its version, when it is made, and the copy."""
Make = Callable[[int], dict[str, Made]]
"""Has every owner make its copy, by who it is, when what it was told before is done."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A tensor as it lies in Ray's store, which keeps arrays as they are."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    data: npt.NDArray[np.uint8]

    @staticmethod
    def of(tensor: Tensor) -> Kept:
        """Shares the tensor's memory."""
        return Kept(tensor.dtype, tuple(tensor.shape), tensor.contiguous().reshape(-1).view(torch.uint8).numpy())

    def tensor(self) -> Tensor:
        """In memory of its own."""
        own = torch.empty(self.shape, dtype=self.dtype)
        own.reshape(-1).view(torch.uint8).numpy()[:] = self.data
        return own


@dataclass(frozen=True, slots=True)
class Copy:
    """What one owner held between two updates."""

    weights: Mapping[str, Kept]
    """By fully qualified name, or by the key of a piece where a parameter server owns it."""
    moments: Mapping[str, Kept]
    """The optimizer's state, as NAME/KIND or KEY/KIND."""

    @staticmethod
    def of(weights: Named, moments: Named, *, shares: bool = True) -> Copy:
        """
        Args:
            shares: memory with the tensors, which must not change until Ray has taken it.
        """

        def kept(named: Named) -> dict[str, Kept]:
            return {name: Kept.of(t.detach() if shares else t.detach().clone()) for name, t in named}

        return Copy(kept(weights), kept(moments))

    def named_weights(self) -> Iterator[tuple[str, Tensor]]:
        """In memory of their own, each made when it is asked for."""
        return ((name, kept.tensor()) for name, kept in self.weights.items())

    def named_moments(self) -> Iterator[tuple[str, Tensor]]:
        """In the same way."""
        return ((key, kept.tensor()) for key, kept in self.moments.items())


NOTHING = (-1, Copy({}, {}))
"""In the place of a copy that was not made."""


def weights_of(copies: Sequence[Copy]) -> Iterator[tuple[str, Tensor]]:
    """Whole weights by fully qualified name, also from pieces; those of all servers in their order, if of any."""
    return joined(item for copy in copies for item in copy.named_weights())


class Copies:
    """The newest whole set of copies, and those on their way."""

    def __init__(self, every: int) -> None:
        """`every`: updates from one set to the next."""
        self.every = every
        self._sets: deque[tuple[int, dict[str, Made]]] = deque()
        self._tried = 0
        """How often the newest set was taken without success."""

    def start(self, version: int, make: Make, *, at_once: bool = False) -> bool:
        """Have a set made by `make(version)` when one is due (or `at_once`); nobody waits for it.

        Returns:
            Whether one is made.
        """
        known = bool(self._sets) and self._sets[-1][0] == version
        if known or not (at_once or version % self.every == 0):
            return False
        self._sets.append((version, make(version)))
        self._tried = 0
        self._forget()
        return True

    def newest(self) -> tuple[int, list[ray.ObjectRef[Copy]]] | None:
        """Version and copies, one of each owner, of the newest set that is whole; `trust` it when it could be used.

        One that was taken in vain twice is let go: part of it may have been lost with a node.
        """
        while self._sets:
            version, made = self._sets[-1]
            if self._tried < TRIES and _is_whole(version, made):
                self._tried += 1
                return version, [copy for _, copy in made.values()]
            self._sets.pop()
            self._tried = 0
        return None

    def trust(self) -> None:
        """The newest set could be used."""
        self._tried = 0

    def now(self, version: int, make: Make, *, timeout: float) -> list[ray.ObjectRef[Copy]]:
        """A whole set of the weights as they are, after `version` updates; waits until it is made.

        Raises:
            ActorLost, TimeoutError: somebody is not there to make its copy.
        """
        self.start(version, make, at_once=True)
        made = self._sets[-1][1]
        versions = wait_for({who: of for who, (of, _) in made.items()}, to="copy what it owns", timeout=timeout)
        assert set(versions) == {version}, f"copies of {versions} in the place of {version}"
        self._forget()
        return [copy for _, copy in made.values()]

    def _forget(self) -> None:
        """Let go of sets older than one that is whole."""
        for at in range(len(self._sets) - 1, 0, -1):
            if _is_whole(*self._sets[at]):
                for _ in range(at):
                    self._sets.popleft()
                return


def _is_whole(version: int, made: Mapping[str, Made]) -> bool:
    """Whether all copies are made: one of an owner that was lost first never will be."""
    versions = [of for of, _ in made.values()]
    done, _ = ray.wait(versions, num_returns=len(versions), timeout=0)
    if len(done) < len(versions):
        return False
    try:
        return set(ray.get(versions)) == {version}
    except RayError:
        return False
