"""Copies are held on a second node each, so that a lost node takes none of them with it for good.

    node A   stage 0 ── copy ──▶ store of A ──▶ keeper on B
    node B   stage 1 ── copy ──▶ store of B ──▶ keeper on C
    node C   driver                             keeper on A holds what is made on C

Ray keeps an object for as long as somebody holds it anywhere, and finds the other one when a node is lost. The driver's
own node is one of them in any case: without the driver nothing goes on. With a single node there is nothing to do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ray

from cluster.copies import Copy, Made
from cluster.devices import on

KEPT = 2
"""Versions that a keeper holds: the newest may not be whole yet."""


class KeeperShell:
    """Holds what was made on another node."""

    def __init__(self) -> None:
        self._kept: dict[int, tuple[Copy, ...]] = {}

    def keep(self, version: int, *copies: Copy) -> None:
        """Ray brings them to this node before the call; holding them keeps them there."""
        self._kept.pop(version, None)
        self._kept[version] = copies
        for old in list(self._kept)[:-KEPT]:
            del self._kept[old]


# Any: which options and methods a remote class has is known to Ray, not to the type checker.
KeeperActor: Any = ray.remote(KeeperShell)


class Keepers:
    """One keeper on each node of a run."""

    def __init__(self) -> None:
        self._node_of: Mapping[str, str] = {}
        self._actors: dict[str, Any] = {}

    def sit(self, node_of: Mapping[str, str]) -> None:
        """Where every owner of weights sits, by who it is; to be called again when that has changed."""
        self._node_of = node_of

    def keep(self, version: int, made: Mapping[str, Made]) -> list[ray.ObjectRef[None]]:
        """Have these copies held elsewhere, too; returns calls that are done when they are."""
        ring = sorted({*self._node_of.values(), ray.get_runtime_context().get_node_id()})
        if len(ring) == 1:
            return []
        by_keeper: dict[str, list[ray.ObjectRef[Copy]]] = {}
        for who, (_, copy) in made.items():
            after = ring[(ring.index(self._node_of[who]) + 1) % len(ring)]
            by_keeper.setdefault(after, []).append(copy)
        return [self._on(node).keep.remote(version, *copies) for node, copies in by_keeper.items()]

    def _on(self, node: str) -> Any:
        if node not in self._actors:
            # One that dies alone starts anew, with nothing until the next copies.
            make = KeeperActor.options(num_cpus=0, scheduling_strategy=on(node), max_restarts=-1)
            self._actors[node] = make.remote()
        return self._actors[node]

    def close(self) -> None:
        """Let go of everything."""
        for actor in self._actors.values():
            ray.kill(actor)
        self._actors.clear()
