"""Which way a stage's messages take: shared memory to stages on its node, ZeroMQ to those on others.

docs/transport.md has the measurements behind this choice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from cluster import shared_memory
from cluster.inbox import Inbox
from cluster.shared_memory import SharedMemory
from cluster.transport import Keys, ZmqTransport
from pipelines.train.transport import Tag


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a stage listens."""

    node: str
    """The node that it is on."""
    near: str
    """For stages on the same node."""
    far: str | None
    """For stages on other nodes; None where there are none."""

    def seen_from(self, node: str) -> str:
        """The address for a stage on `node`."""
        if node == self.node:
            return self.near
        assert self.far is not None
        return self.far


def near(stage: int, *, keys: Keys, timeout: float, glance: Callable[[], None] = lambda: None) -> Inbox:
    """The way to stages on the same node."""
    # Systems without memfd still have sockets in a private folder.
    return (
        SharedMemory(stage, timeout=timeout, glance=glance)
        if shared_memory.AVAILABLE
        else ZmqTransport(stage, keys=keys, timeout=timeout, glance=glance)
    )


class Ways:
    """Carries the messages of one stage, to each other stage by the way that is theirs. Implements Transport."""

    def __init__(self, stage: int, *, keys: Keys, timeout: float, glance: Callable[[], None] = lambda: None) -> None:
        """`glance`: raises when it is no use to wait for a message any longer."""
        self._near = near(stage, keys=keys, timeout=timeout, glance=glance)
        self._far: Inbox | None = None
        self._make_far = partial(ZmqTransport, stage, keys=keys, timeout=timeout, glance=glance)
        self._way: dict[int, Inbox] = {}
        self._node = ""

    def bind(self, *, node: str, room: str, host: str | None) -> Addresses:
        """Listen in the private folder `room` of this node, and on `host` where stages are on other nodes."""
        self._node = node
        here, far = self._near.bind(room=room, host=""), None
        if host is not None:
            self._far = self._make_far()
            far = self._far.bind(room=None, host=host)
        return Addresses(node, here, far)

    def connect(self, addresses: Mapping[int, Addresses]) -> None:
        """Take up the way to every other stage; one that is known already is replaced."""
        for way in (self._near, self._far):
            if way is not None:
                there = {stage: a for stage, a in addresses.items() if (a.node == self._node) is (way is self._near)}
                way.connect({stage: address.seen_from(self._node) for stage, address in there.items()})
                self._way |= dict.fromkeys(there, way)

    def send(self, stage: int, tag: Tag, tensors: Sequence[Tensor]) -> int:
        return self._way[stage].send(stage, tag, tensors)

    def receive(self, stage: int, tag: Tag) -> list[Tensor]:
        return self._way[stage].receive(stage, tag)

    def close(self) -> None:
        self._near.close()
        if self._far is not None:
            self._far.close()
