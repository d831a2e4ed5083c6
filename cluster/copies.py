"""Copies of what every owner of weights holds, in the memory of the nodes: a lost owner is replaced from them.

    steps        0 · · · · 10 · · · · 20 · · 23 ✗
    copies       ●         ●          ●               all owners' of one version, each on two nodes where there are two;
                                                      older ones are let go
    after a loss                      ●──▶ 20 21 22   everybody goes back to it, and these are run again

A copy lies in the store of the node where it was made, outside the process that it was made of, and belongs to the
driver: it outlives that process. It is made between two steps; the driver does not wait for it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import ray
import torch
from ray.exceptions import RayError
from torch import Tensor

from cluster.waiting import wait_for
from pipelines.train.loss_scale import NAME as LOSS_SCALE
from pipelines.train.parameter_shards import joined

Named = Iterable[tuple[str, Tensor]]
TRIES = 2
"""How often a set of copies is taken that could not be used."""
MOST = 3
"""Sets that are kept while none is held on two nodes."""
Made = tuple["ray.ObjectRef[int]", "ray.ObjectRef[Copy]"]
"""What making a copy gives: its version, when it is made, and the copy."""
Make = Callable[[int], dict[str, Made]]
"""Has every owner make its copy, by who it is, when what it was told before is done."""
Keep = Callable[[int, Mapping[str, Made]], Sequence["ray.ObjectRef[None]"]]
"""Has copies of a version held on other nodes, too; gives calls that are done when they are."""


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


@dataclass(frozen=True, slots=True)
class _Set:
    """Copies of one version, of each owner one."""

    version: int
    made: Mapping[str, Made]
    kept: Sequence[ray.ObjectRef[None]]
    """Done when all are held on a second node."""

    @property
    def copies(self) -> list[ray.ObjectRef[Copy]]:
        return [copy for _, copy in self.made.values()]

    @property
    def whole(self) -> bool:
        """Whether all are made: one of an owner that was lost first never will be."""
        return _all_done([of for of, _ in self.made.values()], {self.version})

    @property
    def safe(self) -> bool:
        """Whether all are made, and held twice."""
        return self.whole and _all_done(self.kept, {None})


@dataclass(frozen=True, slots=True)
class Salvaged:
    """The newest state of a run whose actors are no more. To go on from, as a checkpoint is."""

    step: int
    """Updates of the weights that were done."""
    copies: Sequence[Copy]

    def weights(self, names: Iterable[str]) -> Iterator[tuple[str, Tensor]]:
        """The named parameters as far as they are trained, each made when it is asked for."""
        wanted = set(names)
        return ((name, value) for name, value in weights_of(self.copies) if name in wanted)

    def moments(self, names: Iterable[str]) -> Iterator[tuple[str, Tensor]]:
        """The optimizer's state of the named parameters, and the loss scale, which belongs to none."""
        wanted = {*names, LOSS_SCALE}
        found = joined(item for copy in self.copies for item in copy.named_moments())
        return ((key, value) for key, value in found if key.rpartition("/")[0] in wanted)


class Copies:
    """The newest whole set of copies, and those on their way."""

    def __init__(self, every: int, keep: Keep) -> None:
        """`every`: updates from one set to the next."""
        self.every = every
        self._keep = keep
        self._sets: deque[_Set] = deque()
        self._tried = 0
        """How often the newest set was taken without success."""

    def start(self, version: int, make: Make, *, at_once: bool = False) -> bool:
        """Have a set made by `make(version)` when one is due (or `at_once`); nobody waits for it.

        Returns:
            Whether one is made.
        """
        known = bool(self._sets) and self._sets[-1].version == version
        if known or not (at_once or version % self.every == 0):
            return False
        made = make(version)
        self._sets.append(_Set(version, made, self._keep(version, made)))
        self._tried = 0
        self._forget()
        return True

    def newest(self) -> tuple[int, list[ray.ObjectRef[Copy]]] | None:
        """Version and copies, one of each owner, of the newest set that is whole; `trust` it when it could be used.

        One that was taken in vain twice is let go: part of it may have been lost with a node.
        """
        while self._sets:
            last = self._sets[-1]
            if self._tried < TRIES and last.whole:
                self._tried += 1
                return last.version, last.copies
            self._sets.pop()
            self._tried = 0
        return None

    def trust(self) -> None:
        """The newest set could be used."""
        self._tried = 0

    def salvage(self, timeout: float) -> Salvaged | None:
        """The newest set of which every copy can still be read, after nodes were lost; all are let go."""
        while self._sets:
            last = self._sets.pop()
            if last.whole:
                with suppress(RayError):
                    return Salvaged(last.version, ray.get(last.copies, timeout=timeout))
        return None

    def now(self, version: int, make: Make, *, timeout: float) -> list[ray.ObjectRef[Copy]]:
        """A whole set of the weights as they are, after `version` updates; waits until it is made.

        Raises:
            ActorLost, TimeoutError: somebody is not there to make its copy.
        """
        self.start(version, make, at_once=True)
        last = self._sets[-1]
        versions = wait_for({who: of for who, (of, _) in last.made.items()}, to="copy what it owns", timeout=timeout)
        assert set(versions) == {version}, f"copies of {versions} in the place of {version}"
        self._forget()
        return last.copies

    def _forget(self) -> None:
        """Let go of sets older than one that no single node can take with it, and of what is too old in any case."""
        for at in range(len(self._sets) - 1, 0, -1):
            if self._sets[at].safe:
                for _ in range(at):
                    self._sets.popleft()
                return
        while len(self._sets) > MOST:
            self._sets.popleft()


def _all_done(calls: Sequence[ray.ObjectRef[Any]], answers: Collection[object]) -> bool:
    """Whether all calls are done, without an error, and each with one of these answers."""
    done, _ = ray.wait(list(calls), num_returns=len(calls), timeout=0) if calls else ([], [])
    if len(done) < len(calls):
        return False
    try:
        return all(answer in answers for answer in ray.get(list(calls)))
    except RayError:
        return False
