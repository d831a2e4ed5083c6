"""A stage's way to the parameter servers: weights come before a wave, gradients go after it."""

from __future__ import annotations

from collections.abc import Generator

import torch
from torch import Tensor

from pipelines.train.shares import as_message, from_message
from pipelines.train.stage import Stage
from pipelines.train.transport import Tag, Transport, Want, server_number


class Client:
    """One stage's side; the servers' is pipelines/train/server_executor.py."""

    def __init__(self, stage: Stage, transport: Transport) -> None:
        assert stage.pieces is not None
        self._stage, self._pieces, self._transport = stage, stage.pieces, transport
        # What a stage is built with is of no version: an update may have come before it asks.
        self._versions = dict.fromkeys(range(len(stage.spec.owners)), -1)

    def renew(self, step: int, wave: int, version: int) -> Generator[Want, list[Tensor], None]:
        """Get the newest weights that there are, after `version` updates at least."""
        asked = [k for k in self._versions if self._pieces.held(k)]
        for k in asked:
            asking = [torch.tensor([version, self._versions[k]]), torch.tensor(self._pieces.held(k))]
            self._transport.send(server_number(k), Tag(step, "asking", wave), asking)
        for k in asked:
            (self._versions[k],), parts = from_message((yield server_number(k), Tag(step, "values", wave)))
            self._stage.take_values(k, parts)

    def push(self, step: int, wave: int, num_waves: int) -> int:
        """Give every server its part of the gradients, which are forgotten here; returns the bytes that were sent."""
        spec, sent = self._stage.spec, 0
        for k, parts in enumerate(self._pieces.take_gradients()):
            message = as_message([self._versions[k], num_waves, spec.stage, spec.num_stages], parts)
            sent += self._transport.send(server_number(k), Tag(step, "pushing", wave), message)
        return sent
