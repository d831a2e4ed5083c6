"""Where a served model computes: a replica that holds it, in as many versions as it is told to.

front --passes, on a line of their own--> Worker: reader thread, model thread
      <------what it holds, by Ray Serve--        (every second)
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import ray
from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException

from cluster.crowd import TELL_EVERY, Present
from cluster.devices import slowdown_here
from cluster.serve_options import ServeOptions
from pipelines.errors import UserError
from pipelines.inference import registry
from pipelines.inference.aside import BusyError
from pipelines.inference.chat_turns import Begun, Write, in_threads
from pipelines.inference.chat_writer import End, Message
from pipelines.inference.explain import Explained
from pipelines.inference.explain_api import Explain, in_turn
from pipelines.inference.facts import read_facts
from pipelines.inference.holder import Facts, Holder, Loaded
from pipelines.inference.masking.records import install
from pipelines.line.messages import Answered, Asked, plain, typed
from pipelines.line.station import Station
from pipelines.traces.spans import Traced
from pipelines.traces.traces import Traces
from pipelines.train.device import Device
from pipelines.versions.outbox import told
from pipelines.watch import baseline

logger = logging.getLogger(__name__)

FRONT = "Endpoint"
PATIENCE = 10.0
"""Seconds that a front may take to listen to a worker."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error as a value: raised, it would be logged and sent with a traceback, which may quote what was asked."""

    why: Literal["asked wrongly", "busy", "failed"]
    text: str = ""
    """What to tell whoever asked wrongly."""

    @classmethod
    def of(cls, error: Exception) -> Refusal:
        if isinstance(error, UserError):
            return cls("asked wrongly", str(error))
        if isinstance(error, BusyError):
            return cls("busy")
        logger.error("The model failed: %s.", type(error).__name__)
        return cls("failed")

    @property
    def error(self) -> Exception:
        """As whoever asked the model itself would meet it."""
        match self.why:
            case "asked wrongly":
                return UserError(self.text)
            case "busy":
                return BusyError()
            case "failed":
                return RuntimeError("a worker failed")


class Worker:
    """One replica."""

    # Ray Serve awaits it.
    async def __init__(self, options: ServeOptions, group: int) -> None:  # type: ignore[misc]
        """`group`: of the groups of workers the one that it belongs to."""
        # Whatever a library writes of a text: Ray Serve's handlers are there by now.
        install(logging.getLogger())
        context = serve.get_replica_context()
        self._options, self._name, self._group = options, context.replica_id.unique_id, group
        self._settings = options.settings.groups[group]
        gpus = [str(i) for i in ray.get_runtime_context().get_accelerator_ids().get("GPU", [])]
        self._device = replace(Device.assigned(gpus, self._settings.cpus_per_replica), slowdown=slowdown_here())
        self._spans_dropped = 0
        self._traces = Traces.of(options.settings.traces, self._count_dropped)
        self._holder = Holder(self._load, name=self._name, traces=self._traces, device=self._device)
        self._explains: dict[str, Explain] = {}
        self._writes: dict[str, Write] = {}
        self._failed: dict[str, str] = {}
        self._loading: dict[str, asyncio.Task[None]] = {}
        uri = await asyncio.to_thread(self._usual)
        try:
            await self._holder.predictor(uri)
        # Whoever asks for it is told; another version may do.
        except Exception as error:
            logger.warning("%s cannot be loaded: %s", uri, told(error))
        host = ray.util.get_node_ip_address()
        self._station = await Station.open(self._pass, options.line_keys, host=host)
        self._front = serve.get_deployment_handle(FRONT, context.app_name)
        self._telling = asyncio.get_running_loop().create_task(self._tell())

    async def facts(self, uri: str) -> Facts:
        """What an interface for a model needs to know."""
        return await self._holder.facts(uri)

    async def busy(self, seconds: float) -> None:
        """What Ray Serve counts; see cluster/demand.py."""
        await asyncio.sleep(seconds)

    # Ray Serve awaits it, once nothing that it knows of is under way.
    async def __del__(self) -> None:
        self._telling.cancel()
        await self._station.leave()

    async def _pass(self, asked: Asked) -> Answered:
        """One pass through a model."""
        predictor = await self._holder.predictor(asked.uri)
        inputs = typed(asked.inputs, predictor.takes)
        found = await self._holder.compute(asked.uri, inputs, Traced(asked.version, tuple(asked.traceparents)))
        return Answered(asked.number, plain(found.outputs, predictor.gives), list(found.lengths), found.seconds)

    async def explain(
        self, uri: str, given: Any, target: str | int | None, steps: int, traced: Traced
    ) -> Explained | Refusal:
        if uri not in self._explains:
            explainer = (await self._holder.predictor(uri)).explainer()
            assert explainer is not None
            self._explains.setdefault(uri, in_turn(explainer))
        try:
            with self._spanned(traced, "explain"):
                return await self._explains[uri](given, target, steps)
        except Exception as error:
            return Refusal.of(error)

    async def write(
        self, uri: str, messages: Sequence[Message], most: int | None, traced: Traced
    ) -> AsyncGenerator[Begun | str | End | Refusal]:
        if uri not in self._writes:
            writer = (await self._holder.predictor(uri)).writer()
            assert writer is not None
            self._writes.setdefault(uri, in_threads(writer))
        try:
            with self._spanned(traced, "write"):
                async with contextlib.aclosing(self._writes[uri](messages, most)) as pieces:
                    async for piece in pieces:
                        yield piece
        except Exception as error:
            yield Refusal.of(error)

    @contextlib.contextmanager
    def _spanned(self, traced: Traced, name: str) -> Iterator[None]:
        begin = time.time_ns()
        try:
            yield
        finally:
            if self._traces is not None:
                self._traces.record(traced, name, begin, time.time_ns(), {"motley.worker": self._name})

    def _count_dropped(self, number: int) -> None:
        self._spans_dropped += number

    def _usual(self) -> str:
        """The version that is served now, which after a change is another one than at the start."""
        if (view := self._options.follows) is None:
            return self._options.model
        try:
            wanted = view.read()
        except UserError:
            return self._options.model
        return self._options.model if wanted.champion.version in wanted.refused else wanted.champion.uri

    def _load(self, uri: str) -> Loaded:
        # Here, so that only a worker's thread waits for it.
        from cluster.cut_model import cut
        from pipelines.inference.predictors import DEFAULT, load_predictor
        from pipelines.tasks import make_task

        folder, _ = registry.fetch(uri, tracking_uri=self._options.tracking_uri)
        predictor = load_predictor(folder, device=str(self._device.kind), threads=self._device.threads)
        if self._settings.plan is None:
            return Loaded(predictor, baseline.read(folder))
        here = ray.util.get_current_placement_group()
        assert here is not None, "a worker whose model is cut has a placement group"
        task = make_task(str(read_facts(folder).get("task", DEFAULT)))
        end = cut(predictor.network, task, str(folder), self._settings.plan, here=here, lost=_end)
        return Loaded(predictor, baseline.read(folder), end)

    async def _tell(self) -> None:
        """Say what is here, and hold what is wanted, for as long as this worker lives."""
        heard = 0
        while True:
            # A front that begins anew, or that is busy, hears of it the next time.
            with contextlib.suppress(RayError, RayServeException, TimeoutError):
                dropped = self._spans_dropped
                present = Present(
                    self._name, tuple(self._holder.held), self._failed, dropped - heard, self._group,
                    self._station.address,
                )  # fmt: skip
                self._hold(await asyncio.wait_for(self._front.present.remote(present), PATIENCE))
                heard = dropped
            await asyncio.sleep(TELL_EVERY)

    def _hold(self, wanted: Sequence[str]) -> None:
        """Drop what is not wanted any more, and begin to load what is: this worker goes on saying that it is there."""
        for uri in {*self._holder.held} - {*wanted}:
            for kept in (self._explains, self._writes):
                kept.pop(uri, None)
            self._holder.drop(uri)
        self._failed = {uri: why for uri, why in self._failed.items() if uri in wanted}
        for uri in {*wanted} - {*self._holder.held, *self._failed, *self._loading}:
            self._loading[uri] = asyncio.get_running_loop().create_task(self._bring(uri))

    async def _bring(self, uri: str) -> None:
        try:
            await self._holder.predictor(uri)
        except Exception as error:
            # A model's own code may raise anything.
            self._failed[uri] = told(error)
        finally:
            del self._loading[uri]


def _end() -> None:
    """At once, as if it had been killed: who waits for it asks another worker, and Ray Serve starts a new one."""
    os._exit(1)
