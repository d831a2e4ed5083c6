"""Which nodes of the cluster are there, and which of a run's are gone."""

from __future__ import annotations

import socket
import time
from collections.abc import Collection
from typing import Any

import ray

from cluster.fleet import Fleet

PATIENCE = 90.0
"""Seconds in which Ray declares a node dead that does not answer: its health checks need up to a minute."""
_ANSWER, _AGAIN = 2.0, 0.5


class NodesLost(Exception):
    """A plan cannot go on: nodes are gone that its actors sat on, and Ray found no others for them."""

    def __init__(self, nodes: Collection[str]) -> None:
        super().__init__(f"{named(nodes)} {'is' if len(nodes) == 1 else 'are'} gone")
        self.nodes = tuple(sorted(nodes))


def named(nodes: Collection[str]) -> str:
    """Nodes by the beginning of Ray's ids: `node 1f0c22aa`."""
    return f"{'node' if len(nodes) == 1 else 'nodes'} {', '.join(node[:8] for node in sorted(nodes))}"


def alive() -> frozenset[str]:
    """Ray's ids of the nodes that it takes to be alive."""
    return frozenset(node["NodeID"] for node in ray.nodes() if node["Alive"])


def gone(nodes: Collection[str]) -> list[str]:
    """Those of these nodes that are dead.

    One where nothing listens or answers any more, because it was killed or cut off, is waited for until Ray says so,
    too: only then does Ray place actors elsewhere.
    """
    deadline = time.monotonic() + PATIENCE
    while nodes:
        there = {node["NodeID"]: node for node in ray.nodes() if node["Alive"]}
        lost = [node for node in nodes if node not in there]
        silent = [node for node in nodes if node in there and not _answers(there[node])]
        if not silent or time.monotonic() > deadline:
            return sorted({*lost, *silent})
        time.sleep(_AGAIN)
    return []


def check_nodes(fleet: Fleet, patience: float) -> None:
    """Whether a fleet can go on where it is, or where Ray moves it within `patience` seconds.

    Raises:
        NodesLost: it cannot.
    """
    lost = gone(fleet.nodes)
    if lost and not fleet.stands(alive() - set(lost), patience):
        raise NodesLost(lost)


def _answers(node: dict[str, Any]) -> bool:
    try:
        socket.create_connection((node["NodeManagerAddress"], node["NodeManagerPort"]), timeout=_ANSWER).close()
    except OSError:
        return False
    return True
