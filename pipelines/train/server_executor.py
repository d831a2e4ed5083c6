"""Answers what stages send a parameter server, and agrees with the other servers on norms. Knows no Ray.

    stage    ─ asking  (version v at least) ─▶ server k    kept until it has version v
    stage    ◀─ values ─────────────────────── server k
    stage    ─ pushing (gradients of a wave) ▶ server k
    server k ─ norms  (of a step, squared) ──▶ server 0    when it has the whole step
    server k ◀─ norm   (of all servers) ────── server 0    then it updates; in the order in which server 0 tells

The order of updates is server 0's: where steps are applied as they come, they may come in another order elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from pipelines.train.owned import global_norm
from pipelines.train.parameter_server import ParameterServer, ServerReport
from pipelines.train.shares import WaveNumbers, as_message, from_message
from pipelines.train.transport import Tag, Transport, server_number


class ServerExecutor:
    """Joins a parameter server to the stages of all replicas, and to the other servers."""

    def __init__(
        self, server: ParameterServer, transport: Transport, updated: Callable[[], None] = lambda: None
    ) -> None:
        """`updated` is called after every update, before anybody gets the new weights."""
        self._server, self._transport, self._updated = server, transport, updated
        self._k, self._num_servers = server.spec.server, server.spec.num_servers
        self._asking: list[tuple[int, Tag, list[Tensor]]] = []
        self._squares: dict[int, list[list[float]]] = {}
        """By step what servers sent, on server 0 only."""
        self._sent = 0

    def handle(self, sender: int, tag: Tag, message: Sequence[Tensor]) -> list[ServerReport]:
        """Do what a message asks for; returns the updates that it led to."""
        if tag.what == "asking":
            self._asking.append((sender, tag, list(message)))
            self._answer()
            return []
        if tag.what == "pushing":
            (version, num_waves, stage, num_stages), parts = from_message(message)
            numbers = WaveNumbers(version, num_waves, stage, num_stages)
            squares = self._server.push(tag.step, tag.micro_batch, numbers, parts)
            return [] if squares is None else self._agree(tag.step, squares)
        if tag.what == "norms":
            return self._gather(tag.step, message[0].tolist())
        assert tag.what == "norm", tag
        return [self._update(tag.step, float(message[0]))]

    def _agree(self, step: int, squares: list[float]) -> list[ServerReport]:
        if self._k == 0:
            return self._gather(step, squares)
        mine = torch.tensor(squares, dtype=torch.float64)
        self._transport.send(server_number(0), Tag(step, "norms"), [mine])
        return []

    def _gather(self, step: int, squares: list[float]) -> list[ServerReport]:
        self._squares.setdefault(step, []).append(squares)
        done = []
        while (turn := self._turn()) is not None:
            norm = global_norm(value for part in self._squares.pop(turn) for value in part)
            for k in range(1, self._num_servers):
                self._transport.send(server_number(k), Tag(turn, "norm"), [torch.tensor(norm, dtype=torch.float64)])
            done.append(self._update(turn, norm))
        return done

    def _turn(self) -> int | None:
        """The step to be applied now, if all servers have it."""
        whole = [step for step, parts in self._squares.items() if len(parts) == self._num_servers]
        if self._server.spec.in_order:
            whole = [step for step in whole if step == self._server.version]
        return whole[0] if whole else None

    def _update(self, step: int, norm: float) -> ServerReport:
        report = self._server.update(step, norm, bytes_sent=self._sent)
        self._sent = 0
        self._updated()
        self._answer()
        return report

    def _answer(self) -> None:
        """Give the weights to whoever asked for this version or an earlier one."""
        later = []
        for sender, tag, message in self._asking:
            wanted, has = message[0].tolist()
            if wanted > self._server.version:
                later.append((sender, tag, message))
                continue
            # Who has them already is only told so.
            parts = [] if has == self._server.version else self._server.values(message[1].tolist())
            answer = as_message([self._server.version], parts)
            self._sent += self._transport.send(sender, Tag(tag.step, "values", tag.micro_batch), answer)
        self._asking = later
