"""A thin shell round a stage: what Ray places and calls."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any

import ray
from torch import Tensor

from cluster.copies import NOTHING, Copy, weights_of
from cluster.devices import slowdown_here
from cluster.handover import Interrupted, StageEnd
from cluster.transport import Keys, ZmqTransport
from cluster.ways import Addresses, Ways
from pipelines.data.pack import Packed, merge
from pipelines.tasks import make_task
from pipelines.train.device import Device, Peaks
from pipelines.train.events import StageReport
from pipelines.train.executor import Executor, StepOrder
from pipelines.train.importance import Squares
from pipelines.train.pieces import Part
from pipelines.train.specs import StageSpec, held
from pipelines.train.stage import Stage
from pipelines.train.transport import SPAN, Transport, Within


@dataclass(frozen=True, slots=True)
class Seat:
    """Where an actor sits."""

    node: str
    host: str
    device: str
    gpu: str | None
    """The GPU's name; None where it computes on a CPU."""

    def facts(self) -> dict[str, str | None]:
        """For the plan that is shown and kept."""
        return {"assigned": self.device, "gpu": self.gpu, "node": self.node}


@dataclass(frozen=True, slots=True)
class Role:
    """What one actor is in a run."""

    stage: int
    replica: int
    cpus: float
    """That Ray assigned for it."""
    threads: int | None
    """Of its CPU kernels; as many as CPUs when None."""
    wants_gpu: bool
    keys: Keys
    timeout: float


def _letting_go(instead: Any = None) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A call that the driver interrupted ends without an error: nobody reads its answer, and Ray would print it."""

    def around(method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            try:
                return method(*args, **kwargs)
            except Interrupted:
                return instead

        return call

    return around


class StageShell:
    """Holds one stage, its transport, and the executor that joins them."""

    def __init__(self, task: str, role: Role | None) -> None:
        """`role`: None for one that is told later; see `play`."""
        self._transport: Ways | None = None
        self._driver: StageEnd | None = None
        self._servers: ZmqTransport | None = None
        self._executor: Executor | None = None
        self._stage: Stage | None = None
        self._padding: Mapping[str, float] = {}
        self._squares = Squares()
        if role is not None:
            self.play(role)
        # Loads the library's model classes now, while the driver still reads the data.
        _ = make_task(task).auto_class

    def play(self, role: Role) -> None:
        """Be this from now on, on the device that Ray assigned."""
        gpus = [str(i) for i in ray.get_runtime_context().get_accelerator_ids().get("GPU", [])]
        self._device = replace(Device.assigned(gpus, role.cpus, role.threads), slowdown=slowdown_here())
        self._note = (
            " in place of a GPU, which Ray assigned but this node has not"
            if role.wants_gpu and self._device.kind.type == "cpu"
            else ""
        )
        self._replica, self._number = role.replica, role.replica * SPAN + role.stage
        self._keys, self._timeout = role.keys, role.timeout

    def seat(self) -> Seat:
        context = ray.get_runtime_context()
        return Seat(
            context.get_node_id(), ray.util.get_node_ip_address(), f"{self._device}{self._note}", self._device.gpu
        )

    def bind(self, room: str, far: bool) -> Addresses:
        """Listen for the other stages: in a folder `room` of this node, and on its address where some are `far`.

        May be done again: what was under way then is on no way any more.
        """
        if self._transport is not None:
            self._transport.close()
        self._transport = Ways(self._number, keys=self._keys, timeout=self._timeout, glance=self._glance)
        node = ray.get_runtime_context().get_node_id()
        return self._transport.bind(node=node, room=room, host=ray.util.get_node_ip_address() if far else None)

    def bind_for_driver(self, room: str | None) -> str:
        """Listen for the driver, in a folder `room` where it is on this node. May be done again."""
        if self._driver is not None:
            self._driver.close()
        self._driver = StageEnd(self._number, keys=self._keys, timeout=self._timeout)
        return self._driver.bind(room)

    def bind_for_servers(self, room: str | None) -> str:
        """Listen for the parameter servers, in the same way."""
        if self._servers is not None:
            self._servers.close()
        self._servers = ZmqTransport(self._number, keys=self._keys, timeout=self._timeout, glance=self._glance)
        return self._servers.bind(room=room, host=ray.util.get_node_ip_address())

    def build(
        self,
        spec: StageSpec,
        padding: Mapping[str, float],
        addresses: Mapping[int, Addresses],
        driver: str,
        servers: Mapping[int, str],
    ) -> tuple[str, ...]:
        """Build the stage; its weights come in pieces, then `settle`.

        Returns:
            The names of the parameters that it trains by rows.
        """
        self._device.check(spec.train.precision)
        self._start = self._device.peak()
        self._padding = padding
        self._stage = Stage(spec, self._device)
        self._connect(addresses, driver, servers)
        return self._stage.table_names

    def rejoin(self, addresses: Mapping[int, Addresses], driver: str, servers: Mapping[int, str]) -> tuple[str, ...]:
        """As `build`, where the stage is built already: it keeps its weights, and forgets a step that was under way."""
        assert self._stage is not None
        before, self._executor = self._stage, None
        self._stage = Stage(before.spec, self._device)
        self._stage.load(before.held())
        # Where servers own the weights a stage holds none back, and takes up no state.
        if state := before.held_back():
            self._stage.restore(state)
        self._connect(addresses, driver, servers)
        return self._stage.table_names

    def _connect(self, addresses: Mapping[int, Addresses], driver: str, servers: Mapping[int, str]) -> None:
        assert self._transport is not None
        assert self._driver is not None
        self._transport.connect(addresses)
        self._driver.connect(driver)
        if self._servers is not None:
            self._servers.connect(servers)

    def _glance(self) -> None:
        assert self._driver is not None
        self._driver.glance()

    def ping(self) -> int:
        """Answers when all calls before are done, with the number of the process."""
        return os.getpid()

    @_letting_go(instead=NOTHING)
    def copy(self, version: int) -> tuple[int, Copy]:
        """What this stage owns, after `version` updates."""
        assert self._stage is not None
        self._glance()
        return version, Copy.of(self._stage.named_weights(), self._stage.named_moments())

    def restore(self, *copies: Copy) -> None:
        """Take up what copies, of stages or of all parameter servers, have of what this stage holds."""
        assert self._stage is not None
        holds = set(held(self._stage.spec.units, self._stage.spec))
        for name, value in weights_of(copies):
            if name in holds:
                self._stage.load({name: value})
        if self._stage.owned is not None:
            for copy in copies:
                self._stage.restore(dict(copy.named_moments()))

    def take_piece(self, number: int, part: Part, names: Sequence[str]) -> None:
        """Copy in a piece of weights or moments that the driver sent."""
        assert self._stage is not None
        assert self._driver is not None
        take_up = self._stage.load if part == "weights" else self._stage.restore
        take_up(self._driver.take(number, part, names))

    def settle(self) -> None:
        """All is there that belongs to this stage."""
        assert self._stage is not None
        self._stage.check_loaded()
        assert self._transport is not None
        transport: Transport = self._transport
        if self._servers is not None:
            transport = Within(transport, self._servers, self._replica)
        self._executor = Executor(self._stage, transport)
        # What is there now stays; the collector need not look through it in the middle of a step.
        gc.collect()
        gc.freeze()
        self._load = self._device.peak()
        self._meter = self._device.meter()

    def peaks(self) -> Peaks:
        """To be asked once: the count of `train` begins anew."""
        return Peaks(self._start, self._load, self._device.peak())

    @_letting_go()
    def run_step(self, order: StepOrder, *parts: Sequence[Packed]) -> StageReport:
        """One step; each of `parts` is what one data shard holds of the step's micro-batches."""
        assert self._executor is not None
        self._glance()
        report = self._executor.run(order, self._batches(parts))
        return replace(report, drawn=self._meter.read())

    @_letting_go()
    def renew(self, version: int) -> None:
        """Get the weights after `version` updates from the parameter servers."""
        assert self._executor is not None
        self._executor.renew(version)

    @_letting_go()
    def evaluate(self, call: int, *parts: Sequence[Packed]) -> list[Any]:
        assert self._executor is not None
        self._glance()
        return self._executor.evaluate(call, self._batches(parts))

    def run_batches(self, order: StepOrder, batches: Sequence[Mapping[str, Tensor]]) -> StageReport:
        """One step on micro-batches that no data shard holds."""
        assert self._executor is not None
        return self._executor.run(order, batches)

    def evaluate_batches(self, call: int, batches: Sequence[Mapping[str, Tensor]]) -> list[Any]:
        assert self._executor is not None
        return self._executor.evaluate(call, batches)

    def give_piece(self, number: int, part: Part, first: bool) -> list[str]:
        """Send the driver the first or the next piece of weights, moments or gradients; returns its names."""
        assert self._stage is not None
        assert self._driver is not None
        if first:
            stage = self._stage
            all_of = {
                "weights": stage.named_weights, "moments": stage.named_moments, "gradients": stage.named_gradients,
                "importance": self._squares.named,
            }  # fmt: skip
            self._driver.begin(all_of[part]())
        return self._driver.give(number, part)

    def square_gradients(self) -> None:
        """Of a step that had no update, into the sums that are given as `importance`; forgets them."""
        assert self._stage is not None
        self._squares.add(self._stage.named_gradients())
        self._stage.forget_gradients()

    def forget_gradients(self) -> None:
        """Of a step that had no update."""
        assert self._stage is not None
        self._stage.forget_gradients()

    def close(self) -> None:
        for way in (self._transport, self._driver, self._servers):
            if way is not None:
                way.close()

    def _batches(self, parts: Sequence[Sequence[Packed]]) -> list[dict[str, Tensor]]:
        return [merge(pieces, self._padding) for pieces in zip(*parts, strict=True)]


# Any: which options and methods a remote class has is known to Ray, not to the type checker.
StageActor: Any = ray.remote(StageShell)
