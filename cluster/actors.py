"""Thin shells round the plain classes of pipelines/: what Ray places, calls and restarts."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import ray
import torch
from torch import Tensor

from cluster.devices import slowdown_here
from cluster.handover import StageEnd
from cluster.transport import Keys, ZmqTransport
from cluster.ways import Addresses, Ways
from pipelines.config import DataConfig
from pipelines.data.pack import Packed, merge
from pipelines.data.shard import DataShard, Lengths, SplitSummary
from pipelines.tasks import make_task
from pipelines.train.device import Device, Peaks
from pipelines.train.events import StageReport
from pipelines.train.executor import Executor, StepOrder
from pipelines.train.pieces import Part
from pipelines.train.specs import StageSpec
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


class StageShell:
    """Holds one stage, its transport, and the executor that joins them."""

    def __init__(
        self,
        stage: int,
        *,
        task: str,
        cpus: float,
        threads: int | None,
        wants_gpu: bool,
        keys: Keys,
        timeout: float,
        replica: int = 0,
    ) -> None:
        gpus = [str(i) for i in ray.get_runtime_context().get_accelerator_ids().get("GPU", [])]
        self._device = replace(Device.assigned(gpus, cpus, threads), slowdown=slowdown_here())
        self._note = (
            " in place of a GPU, which Ray assigned but this node has not"
            if wants_gpu and self._device.kind.type == "cpu"
            else ""
        )
        self._replica, self._number = replica, replica * SPAN + stage
        self._keys, self._timeout = keys, timeout
        self._transport = Ways(self._number, keys=keys, timeout=timeout)
        self._driver = StageEnd(self._number, keys=keys, timeout=timeout)
        self._servers: ZmqTransport | None = None
        # Loads the library's model classes now, while the driver still reads the data.
        _ = make_task(task).auto_class
        self._executor: Executor | None = None
        self._stage: Stage | None = None
        self._padding: Mapping[str, int] = {}

    def seat(self) -> Seat:
        context = ray.get_runtime_context()
        return Seat(
            context.get_node_id(), ray.util.get_node_ip_address(), f"{self._device}{self._note}", self._device.gpu
        )

    def bind(self, room: str, far: bool) -> Addresses:
        """Listen for the other stages: in a folder `room` of this node, and on its address where some are `far`."""
        node = ray.get_runtime_context().get_node_id()
        return self._transport.bind(node=node, room=room, host=ray.util.get_node_ip_address() if far else None)

    def bind_for_driver(self, room: str | None) -> str:
        """Listen for the driver, in a folder `room` where it is on this node."""
        return self._driver.bind(room)

    def bind_for_servers(self, room: str | None) -> str:
        """Listen for the parameter servers, in the same way."""
        self._servers = ZmqTransport(self._number, keys=self._keys, timeout=self._timeout)
        return self._servers.bind(room=room, host=ray.util.get_node_ip_address())

    def build(
        self,
        spec: StageSpec,
        padding: Mapping[str, int],
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
        self._transport.connect(addresses)
        self._driver.connect(driver)
        if self._servers is not None:
            self._servers.connect(servers)
        return self._stage.table_names

    def take_piece(self, number: int, part: Part, names: Sequence[str]) -> None:
        """Copy in a piece of weights or moments that the driver sent."""
        assert self._stage is not None
        take_up = self._stage.load if part == "weights" else self._stage.restore
        take_up(self._driver.take(number, part, names))

    def settle(self) -> None:
        """All is there that belongs to this stage."""
        assert self._stage is not None
        self._stage.check_loaded()
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

    def run_step(self, order: StepOrder, *parts: Sequence[Packed]) -> StageReport:
        """One step; each of `parts` is what one data shard holds of the step's micro-batches."""
        assert self._executor is not None
        report = self._executor.run(order, self._batches(parts))
        return replace(report, drawn=self._meter.read())

    def renew(self, version: int) -> None:
        """Get the weights after `version` updates from the parameter servers."""
        assert self._executor is not None
        self._executor.renew(version)

    def evaluate(self, call: int, *parts: Sequence[Packed]) -> list[Any]:
        assert self._executor is not None
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
        if first:
            stage = self._stage
            all_of = {
                "weights": stage.named_weights, "moments": stage.named_moments, "gradients": stage.named_gradients
            }  # fmt: skip
            self._driver.begin(all_of[part]())
        return self._driver.give(number, part)

    def forget_gradients(self) -> None:
        """Of a step that had no update."""
        assert self._stage is not None
        self._stage.forget_gradients()

    def close(self) -> None:
        self._transport.close()
        self._driver.close()
        if self._servers is not None:
            self._servers.close()

    def _batches(self, parts: Sequence[Sequence[Packed]]) -> list[dict[str, Tensor]]:
        return [merge(pieces, self._padding) for pieces in zip(*parts, strict=True)]


class DataShell:
    """Holds one data shard."""

    def __init__(self, data: DataConfig, *, shard: int, num_shards: int) -> None:
        torch.set_num_threads(1)
        self._shard = DataShard(data, shard=shard, num_shards=num_shards)

    def load(self) -> dict[str, SplitSummary]:
        return self._shard.load()

    def encode(self, task: str, tokenizer: str, labels: Sequence[str], max_length: int) -> dict[str, Lengths]:
        return self._shard.encode(make_task(task), tokenizer, labels, max_length)

    def class_counts(self, split: str) -> Counter[int]:
        return self._shard.class_counts(split)

    def target_weights(self, split: str, weights: Sequence[float]) -> list[float]:
        return self._shard.target_weights(split, weights)

    def micro_batches(self, split: str, wanted: Sequence[Sequence[int]]) -> list[Packed]:
        return self._shard.micro_batches(split, wanted)

    def gold(self, split: str) -> list[tuple[tuple[str, ...], list[int]]]:
        return self._shard.gold(split)


# Any: which options and methods a remote class has is known to Ray, not to the type checker.
StageActor: Any = ray.remote(StageShell)
DataShardActor: Any = ray.remote(DataShell)
