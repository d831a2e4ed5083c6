"""Checkpoints that are written while training goes on.

stages   steps ──▶ copy ──▶ steps ──────────────▶ steps          the copy is all that they wait for
thread                └──▶ files, digests, fsync, rename ──▶ saved
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError
from torch import Tensor

from cluster.copies import Copy
from cluster.waiting import ActorLost
from pipelines.train.checkpoint_write import State
from pipelines.train.parameter_shards import joined
from pipelines.train.pieces import pieces
from pipelines.train.shelf import Shelf


class Saving:
    """One run's checkpoints, one at a time."""

    def __init__(self, shelf: Shelf, saved: Callable[[Path, float | None], None]) -> None:
        """`saved` is told of each, in the thread that calls `poll` or `finish`, with the seconds that steps waited."""
        self._shelf, self._saved = shelf, saved
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._writing: tuple[Future[Path], float] | None = None
        self._last: Path | None = None

    def start(
        self,
        copies: Sequence[ray.ObjectRef[Copy]],
        *,
        step: int,
        facts: Mapping[str, Any],
        score: float | None,
        waited: float,
    ) -> None:
        """Write a checkpoint of these copies of all weights, when the one before is written.

        Args:
            waited: seconds that steps waited for the copies.

        Raises:
            UserError: the one before could not be written.
            ActorLost: its copies were lost with a node.
        """
        self.finish()

        def write() -> Path:
            try:
                return self._shelf.save(step=step, facts=facts, parts=_parts(copies), score=score)
            except RayError as error:
                reason = str(error).split("\n", 1)[0]
                raise ActorLost(
                    f"The checkpoint of step {step} was not written, for its copies are lost: {reason}"
                ) from error

        self._writing = self._thread.submit(write), waited

    def poll(self) -> None:
        """Tell of one that has been written since the last call.

        Raises:
            UserError, ActorLost: it could not be written.
        """
        if self._writing is not None and self._writing[0].done():
            self.finish()

    def finish(self) -> Path | None:
        """Wait until all is written; returns the last checkpoint.

        Raises:
            UserError, ActorLost: it could not be written.
        """
        if self._writing is not None:
            (future, waited), self._writing = self._writing, None
            self._last = future.result()
            self._saved(self._last, waited)
        return self._last

    def close(self) -> None:
        """What is being written is written to its end."""
        self._thread.shutdown()


def _parts(copies: Sequence[ray.ObjectRef[Copy]]) -> Iterator[State]:
    """Pieces of weights, then of the optimizer's state, each fetched when it is asked for."""

    def weights() -> Iterator[tuple[str, Tensor]]:
        for ref in copies:
            yield from ray.get(ref).named_weights()

    def moments() -> Iterator[tuple[str, Tensor]]:
        for ref in copies:
            yield from ray.get(ref).named_moments()

    yield from ((piece, {}) for piece in pieces(joined(weights())))
    yield from (({}, piece) for piece in pieces(joined(moments())))
