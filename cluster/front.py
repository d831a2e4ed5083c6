"""The front of an endpoint: its HTTP interface, and the batchers that all its workers share.

requests --> Front: who? how often? how much? --> version --> Batcher --one pass--> Worker
         <-----------------answers--------------                      --one pass--> Worker
                                                          (again elsewhere where a worker is lost)
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from functools import partial
from typing import Any

from fastapi import FastAPI

from cluster.counting import asking
from cluster.crowd import Crowd, Present
from cluster.demand import tell_demand
from cluster.lanes import Served, WorkerLane, WorkerLanes
from cluster.lines import Lines
from cluster.serve_options import ServeOptions
from cluster.standing import look
from cluster.worker import Refusal
from cluster.workforce import Workforce
from pipelines.inference import registry
from pipelines.inference.api import create_api
from pipelines.inference.chat_turns import Begun
from pipelines.inference.chat_writer import End, Message
from pipelines.inference.explain import Explained
from pipelines.inference.listener import Listener
from pipelines.inference.masking.records import install
from pipelines.inference.service import Limits
from pipelines.traces.spans import traced_here
from pipelines.traces.traces import Traces
from pipelines.versions.follower import Follower, open_first
from pipelines.versions.golden import find_golden
from pipelines.versions.switch import Switch
from pipelines.watch.watch import Watch


class Front:
    """One replica; it computes nothing itself."""

    # Ray Serve awaits it.
    async def __init__(  # type: ignore[misc]
        self, options: ServeOptions, workers: Sequence[Any], counter: Any = None
    ) -> None:
        """
        Args:
            workers: the handles of their groups.
            counter: the handle of what counts for all fronts, where anything is to be counted.
        """
        install(logging.getLogger())
        self._options = options
        settings, self._watch = options.settings, Watch()
        watch, self._traces = self._watch, Traces.of(settings.traces, self._watch.spans_dropped)
        self._crowd = Crowd(came=watch.worker_started)
        self._workforce = Workforce(workers, self._crowd)
        self._lines = Lines(options.line_keys, self._crowd, failed=self._worker_failed)
        self._demand = [
            # A worker has two passes at most.
            asyncio.get_running_loop().create_task(
                tell_demand(handle, partial(self._lines.num_asked, k), 2 * settings.groups[k].most)
            )
            for k, handle in enumerate(workers)
            if settings.groups[k].scale is not None
        ]
        self._lanes = lanes = WorkerLanes(workers, self._lines, self._crowd, settings, watch)
        first = await self._first(lanes)
        # What may wait before a model has its turn is in it.
        self._switch = Switch(first, patience=2 * settings.max_wait_seconds)
        self._following = None if options.follows is None else self._follow(options.follows, lanes)
        self._app = create_api(
            self._switch.answer,
            first.facts.predictor,
            model=first.ref.name,
            version=lambda: self._champion.ref.version,
            limits=Limits(settings.max_inputs, settings.max_characters, settings.deadline_seconds),
            key_sha256=options.key_sha256,
            access=options.access,
            ask=None if counter is None else asking(counter),
            hiding=options.hiding,
            explain=self._explain if any(one.explains for one in first.by_group) else None,
            write=self._write if first.facts.writes else None,
            watch=watch,
            traces=self._traces,
        )
        ends = None if options.listen is None else options.listen.certificate_ends
        watch.follow(partial(look, self._switch, lanes, self._crowd, settings, ends))
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
        if self._traces is not None:
            await asyncio.to_thread(self._traces.close)

    async def present(self, worker: Present) -> tuple[str, ...]:
        """A worker says that it is there; returns the models that it is to hold."""
        self._watch.spans_dropped(worker.spans_dropped)
        self._lines.hear(worker)
        return self._crowd.hear(worker)

    async def served(self) -> Served:
        return self._lanes.served

    def _worker_failed(self, name: str) -> None:
        self._watch.worker_failed(self._crowd.place(name))

    @property
    def _champion(self) -> WorkerLane:
        champion = self._switch.champion
        assert isinstance(champion, WorkerLane)
        return champion

    async def _first(self, lanes: WorkerLanes) -> WorkerLane:
        options = self._options
        if options.follows is None:
            return await lanes.open(registry.resolve(options.model, tracking_uri=options.tracking_uri))
        lane = await open_first(options.follows, lanes)
        assert isinstance(lane, WorkerLane)
        return lane

    def _follow(self, view: Any, lanes: WorkerLanes) -> asyncio.Task[None]:
        settings, store = self._options.settings, self._options.tracking_uri
        golden = partial(find_golden, file=settings.golden, tracking_uri=store)
        follower = Follower(self._switch, view, lanes, golden, settings)
        return asyncio.get_running_loop().create_task(follower.run())

    async def _explain(self, given: Any, target: str | int | None, steps: int) -> Explained:
        champion = self._champion
        ref, traced = champion.ref, traced_here(champion.ref.version)
        with self._workforce.one(champion.by_group, lambda facts: facts.explains) as worker:
            asked = worker.explain.remote(ref.uri, given, target, steps, traced)
            try:
                found: Explained | Refusal = await asked
            except asyncio.CancelledError:
                # Nobody waits for it any more.
                asked.cancel()
                raise
        if isinstance(found, Refusal):
            raise found.error
        return found

    async def _write(self, messages: Sequence[Message], most: int | None) -> AsyncGenerator[Begun | str | End]:
        champion = self._champion
        ref, traced = champion.ref, traced_here(champion.ref.version)
        with self._workforce.one(champion.by_group, lambda facts: facts.writes) as worker:
            pieces = worker.options(stream=True).write.remote(ref.uri, messages, most, traced)
            ended = False
            try:
                async for piece in pieces:
                    if isinstance(piece, Refusal):
                        raise piece.error
                    yield piece
                ended = True
            finally:
                if not ended:
                    # Nobody listens any more.
                    pieces.cancel()
