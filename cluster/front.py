"""The front of an endpoint: its HTTP interface, and the batcher that all its workers share.

requests --> Front: who? how often? how much? --> Batcher --one pass--> Worker
         <-----------------answers--------------          --one pass--> Worker
                                                          (again elsewhere where a worker is lost)
"""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, HTTPException
from ray.exceptions import RayError, RayTaskError

from cluster.counting import asking
from cluster.crowd import Crowd, Present
from cluster.serve_options import ServeOptions
from cluster.worker import Refusal
from pipelines.errors import UserError
from pipelines.inference import registry
from pipelines.inference.api import create_api
from pipelines.inference.aside import BusyError
from pipelines.inference.batcher import Batcher, Computed, Overloaded, Pass, WorkerLost
from pipelines.inference.chat_turns import Begun
from pipelines.inference.chat_writer import End, Message
from pipelines.inference.explain import Explained
from pipelines.inference.listener import Listener
from pipelines.inference.masking.records import install
from pipelines.inference.service import Limits


@dataclass(frozen=True, slots=True)
class Served:
    """How much a front has had computed."""

    num_inputs: int
    num_passes: int
    num_lost: int
    """Passes whose worker ended, and which were computed again."""


class Front:
    """One replica; it computes nothing itself."""

    async def __init__(self, options: ServeOptions, worker: Any, counter: Any = None) -> None:  # type: ignore[misc]  # Ray Serve awaits it.
        """
        Args:
            worker: the handle of the workers.
            counter: the handle of what counts for all fronts, where anything is to be counted.
        """
        install(logging.getLogger())
        self._options, self._worker = options, worker
        self._ref = registry.resolve(options.model, tracking_uri=options.tracking_uri)
        self._crowd = Crowd()
        self._crowd.wanted = (self._ref.uri,)
        facts = await worker.facts.remote(self._ref.uri)
        self._served = Served(0, 0, 0)
        self._batcher = Batcher(
            self._compute,
            facts.cost,
            most=options.max_batch_size,
            wait=options.batch_wait_ms / 1000,
            patience=options.max_wait_seconds,
            workers=lambda: len(self._crowd.present),
            told=self._passed,
            lost=self._lost,
        )
        self._app = create_api(
            self._answer,
            facts.predictor,
            model=self._ref.name,
            version=self._ref.version,
            limits=Limits(options.max_inputs, options.max_characters),
            key_sha256=options.key_sha256,
            access=options.access,
            ask=None if counter is None else asking(counter),
            hiding=options.hiding,
            explain=self._explain if facts.explains else None,
            write=self._write if facts.writes else None,
        )
        self._listener = None if options.listen is None else await Listener.open(self._app, options.listen)

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Ray Serve asks for the HTTP interface after `__init__`; its proxies ask it."""
        return self._app

    async def check_health(self) -> None:
        """Ray Serve starts another front where this one hears nobody any more."""
        if self._listener is not None and not self._listener.is_open:
            raise RuntimeError("the endpoint no longer listens")

    async def close(self) -> None:
        """Take on nothing more, and answer what is under way."""
        if self._listener is not None:
            await self._listener.close()

    async def present(self, worker: Present) -> tuple[str, ...]:
        """A worker says that it is there; returns the models that it is to hold."""
        return self._crowd.hear(worker)

    async def served(self) -> Served:
        return self._served

    async def _answer(self, inputs: list[Any]) -> list[Any | None]:
        try:
            return await self._batcher.answer(inputs)
        except Overloaded as error:
            raise HTTPException(
                503,
                f"{error}, and this endpoint takes on no more than {self._options.max_wait_seconds:g} s "
                "(serve.max_wait_seconds): ask again later, or add replicas.",
                headers={"Retry-After": str(math.ceil(error.seconds))},
            ) from None

    async def _compute(self, inputs: list[Any]) -> Computed:
        try:
            computed: Computed = await self._worker.compute.remote(self._ref.uri, inputs)
        except RayTaskError:
            # The worker is there, and could not do it.
            raise
        except RayError as error:
            raise WorkerLost(type(error).__name__) from None
        return computed

    async def _explain(self, given: Any, target: str | int | None, steps: int) -> Explained:
        found: Explained | Refusal = await self._worker.explain.remote(self._ref.uri, given, target, steps)
        if isinstance(found, Refusal):
            raise _error(found)
        return found

    async def _write(self, messages: Sequence[Message], most: int | None) -> AsyncGenerator[Begun | str | End]:
        pieces = self._worker.options(stream=True).write.remote(self._ref.uri, messages, most)
        ended = False
        try:
            async for piece in pieces:
                if isinstance(piece, Refusal):
                    raise _error(piece)
                yield piece
            ended = True
        finally:
            if not ended:
                # Nobody listens any more.
                pieces.cancel()

    def _passed(self, done: Pass) -> None:
        was = self._served
        self._served = Served(was.num_inputs + len(done.computed.outputs), was.num_passes + 1, was.num_lost)

    def _lost(self, num_inputs: int) -> None:  # noqa: ARG002
        was = self._served
        self._served = Served(was.num_inputs, was.num_passes, was.num_lost + 1)


def _error(refusal: Refusal) -> Exception:
    return BusyError() if refusal.text is None else UserError(refusal.text)
