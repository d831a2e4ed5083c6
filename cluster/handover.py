"""Weights, optimizer state and gradients between the driver and the stages, piece by piece.

    driver   piece n of every stage ──ZeroMQ──▶ stage j copies it in and lets it go; then piece n + 1
    driver   ◀──ZeroMQ── piece n of stage j, its own memory; then piece n + 1

A piece is on its way to a stage only when the one before has been copied in, so that a stage needs room
for its share and one piece. Through Ray's object store it would need more: pages of the store that a
process once touched stay in its memory until it ends.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import count
from typing import Any

import ray
from torch import Tensor

from cluster.transport import Keys, ZmqTransport
from cluster.waiting import wait_for
from pipelines.train.pieces import Part, pieces
from pipelines.train.transport import DRIVER, Tag, who

Named = Iterable[tuple[str, Tensor]]

INTERRUPTION = Tag(0, "interruption")


class Interrupted(Exception):
    """The driver said to let go of what is being done: someone else was lost."""


class StageEnd:
    """One stage's way to and from the driver."""

    def __init__(self, stage: int, *, keys: Keys, timeout: float) -> None:
        self._link = ZmqTransport(stage, keys=keys, timeout=timeout)
        self._left: Iterator[dict[str, Tensor]] = iter(())

    def bind(self, room: str | None) -> str:
        return self._link.bind(room=room, host=ray.util.get_node_ip_address())

    def connect(self, driver: str) -> None:
        self._link.connect({DRIVER: driver})

    def glance(self) -> None:
        """Look whether the driver said to let go.

        Raises:
            Interrupted: it did; from then on, always.
        """
        if self._link.has(DRIVER, INTERRUPTION):
            raise Interrupted

    def take(self, number: int, part: Part, names: Sequence[str]) -> dict[str, Tensor]:
        """A piece that the driver sent.

        Raises:
            TimeoutError: it did not come in time.
        """
        return dict(zip(names, self._link.receive(DRIVER, Tag(number, part)), strict=True))

    def begin(self, named: Named) -> None:
        """What is to be given now, in pieces that `give` sends."""
        self._left = pieces(named)

    def give(self, number: int, part: Part) -> list[str]:
        """Send the driver the next piece and return its names; none when nothing is left.

        It is sent without a copy: the tensors must not change until the driver has it.
        """
        piece = next(self._left, {})
        if piece:
            self._link.send(DRIVER, Tag(number, part), list(piece.values()))
        return list(piece)

    def close(self) -> None:
        self._link.close()


class DriverEnd:
    """The driver's way to and from all stages of a crew, or all parameter servers."""

    def __init__(self, *, keys: Keys, timeout: float, number: Callable[[int], int] = int) -> None:
        """`number`: what the `j`-th of them is numbered among all stages and servers."""
        self._link = ZmqTransport(DRIVER, keys=keys, timeout=timeout)
        self._keys, self._timeout, self._number = keys, timeout, number
        self._met = False
        self._numbers = count()
        self._stages: Sequence[Any] = ()

    def meet(self, stages: Sequence[Any], nodes: Iterable[str]) -> str:
        """Get to know the stages, which sit on these nodes, and return the address where they find the driver.

        May be called again, with others in the place of some.
        """
        self._stages = stages
        if self._met:
            # What was on its way to and from those who were lost is on no way any more.
            self.close()
            self._link = ZmqTransport(DRIVER, keys=self._keys, timeout=self._timeout)
        self._met = True
        together = set(nodes) == {ray.get_runtime_context().get_node_id()}
        room = f"motley-{secrets.token_hex(8)}" if together else None
        calls = {self._who(j): stage.bind_for_driver.remote(room) for j, stage in enumerate(stages)}
        addresses = wait_for(calls, to="listen to the driver", timeout=self._timeout)
        mine = self._link.bind(room=room, host=ray.util.get_node_ip_address())
        self._link.connect({self._number(j): address for j, address in enumerate(addresses)})
        return mine

    def interrupt(self) -> None:
        """Tell all stages to let go of what they do. Those that do not answer are told as well."""
        for j in range(len(self._stages)) if self._met else ():
            self._link.send(self._number(j), INTERRUPTION, [])

    def give(self, part: Part, named: Mapping[int, Named]) -> None:
        """Send stage `j` its part `named[j]`; all stages at once, each a piece at a time."""
        left = {j: pieces(own) for j, own in named.items()}
        while left:
            calls = {}
            for j in list(left):
                piece = next(left[j], None)
                if piece is None:
                    del left[j]
                    continue
                number = next(self._numbers)
                self._link.send(self._number(j), Tag(number, part), [tensor.detach() for tensor in piece.values()])
                calls[self._who(j)] = self._stages[j].take_piece.remote(number, part, list(piece))
            wait_for(calls, to=f"take its {part}", timeout=self._timeout)

    def take(self, part: Part) -> Iterator[dict[str, Tensor]]:
        """All stages' parts, stage by stage, each piece fetched when it is asked for."""
        for j, stage in enumerate(self._stages):
            first = True
            while True:
                number = next(self._numbers)
                call = {self._who(j): stage.give_piece.remote(number, part, first)}
                (names,) = wait_for(call, to=f"give its {part}", timeout=self._timeout)
                if not names:
                    break
                yield dict(zip(names, self._link.receive(self._number(j), Tag(number, part)), strict=True))
                first = False

    def close(self) -> None:
        self._link.close()

    def _who(self, j: int) -> str:
        return who(self._number(j))
