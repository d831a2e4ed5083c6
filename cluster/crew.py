"""The stages of one replica: made together, asked together, ended together."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.util.placement_group import PlacementGroup, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy
from torch import Tensor

from cluster.actors import Role, Seat, StageActor
from cluster.copies import Copy, Made
from cluster.data_crew import Refs
from cluster.handover import DriverEnd, Named
from cluster.nodes import alive
from cluster.placement import Wanted, reserve, stands
from cluster.roll_call import Lost, lost_of
from cluster.spares import Spares
from cluster.transport import Keys
from cluster.waiting import wait_for
from pipelines.train.device import Peaks
from pipelines.train.events import StageReport
from pipelines.train.executor import StepOrder
from pipelines.train.specs import StageSpec
from pipelines.train.transport import SPAN, who


@dataclass(frozen=True, slots=True)
class Reserved:
    """What a replica is told that is one of several."""

    replica: int
    group: PlacementGroup
    """What is reserved for all of them together."""
    first_bundle: int
    """Of its stages in there."""
    keys: Keys
    share: float = 1.0
    """Of its bundle that each stage takes, where there is to be room for another crew."""


class StageCrew:
    """The stages of one replica, one actor each, in a placement group."""

    def __init__(
        self,
        devices: Sequence[Wanted],
        task: str,
        *,
        may_grow: bool,
        timeout: float,
        reserved: Reserved | None = None,
        spares: Spares | None = None,
    ) -> None:
        """Reserve the devices and start an actor on each, without waiting for them.

        Args:
            reserved: the replicas that this one is one of, and what is reserved for it; one on its own when left out.
            spares: who may take a lost stage's place.

        Raises:
            UserError: the cluster has not got what the plan asks for.
        """
        self._timeout = timeout
        self._owns_group = reserved is None
        if reserved is None:
            reserved = Reserved(0, reserve(devices, may_grow=may_grow, timeout=timeout), 0, Keys.new())
        self.replica, self._group, self._reserved = reserved.replica, reserved.group, reserved
        self._devices, self._task, self._spares = devices, task, spares
        self._nodes: list[str] = []
        """Where the stages sit, when they were met."""
        self._hands = DriverEnd(keys=reserved.keys, timeout=timeout, number=self.number)
        self._stages = [self._make(j) for j in range(len(devices))]
        self._built: set[int] = set()
        """The stages that have their part of the model."""

    def _make(self, j: int) -> Any:
        device, bundle = self._devices[j], self._reserved.first_bundle + j
        here = PlacementGroupSchedulingStrategy(self._group, placement_group_bundle_index=bundle)
        on_gpu = device.kind == "gpu"
        share = self._reserved.share
        make = StageActor.options(num_cpus=share * device.cpus, num_gpus=share * int(on_gpu), scheduling_strategy=here)
        return make.remote(self._task, self._role(j))

    def _role(self, j: int) -> Role:
        device = self._devices[j]
        return Role(
            stage=j,
            replica=self.replica,
            cpus=device.cpus,
            threads=device.threads,
            wants_gpu=device.kind == "gpu",
            keys=self._reserved.keys,
            timeout=self._timeout,
        )

    def _spare(self, j: int) -> Any | None:
        """One that sits where stage `j` did and is it from now on, if there is any."""
        if self._spares is None or not self._nodes or self._devices[j].kind == "gpu" or self._nodes[j] not in alive():
            return None
        return self._spares.take(self._nodes[j], self._role(j))

    def interrupt(self) -> None:
        """Tell the stages to let go of what they do: every call that is under way, or was made, fails."""
        self._hands.interrupt()

    def replace_lost(self, seconds: float) -> list[Lost]:
        """Put spares or new ones in the place of those that are dead or do not come to rest in so many seconds.

        To be called after `interrupt`; then `meet` and `build` again. Returns who was lost.
        """
        lost = []
        for j in lost_of(self._stages, seconds):
            spare = self._spare(j)
            self._stages[j] = self._make(j) if spare is None else spare
            self._built.discard(j)
            lost.append(Lost(self._who(j), by_spare=spare is not None))
        return lost

    @property
    def nodes(self) -> dict[str, str]:
        """The node of each stage, by who it is, when they were met."""
        return {self._who(j): node for j, node in enumerate(self._nodes)}

    def stands(self, there: Collection[str], seconds: float) -> bool:
        """As placement.stands, of a crew that reserved for itself."""
        return stands(self._group, self._devices, there, seconds)

    def forget(self) -> None:
        """Let every stage be built anew."""
        self._built.clear()

    def copy(self, version: int) -> dict[str, Made]:
        """Have every stage copy what it owns, when what it was told before is done."""
        made = [stage.copy.options(num_returns=2).remote(version) for stage in self._stages]
        return {self._who(j): (of, copy) for j, (of, copy) in enumerate(made)}

    def restore(self, copies: Sequence[Sequence[ray.ObjectRef[Copy]]]) -> None:
        """Give each stage the copies that have something of what it holds."""
        calls = {
            self._who(j): stage.restore.remote(*own)
            for j, (stage, own) in enumerate(zip(self._stages, copies, strict=True))
        }
        wait_for(calls, to="take up its copy", timeout=self._timeout)

    def number(self, j: int) -> int:
        """The number of this replica's stage `j` among all stages."""
        return self.replica * SPAN + j

    @property
    def num_stages(self) -> int:
        return len(self._stages)

    def meet(self) -> list[Seat]:
        """Wait for the actors, let them listen for each other, and say where each one sits."""
        seats: list[Seat] = self._all("seat", to="start")
        self._nodes = [seat.node for seat in seats]
        far = len(set(self._nodes)) > 1
        addresses = self._all("bind", f"motley-{secrets.token_hex(8)}", far, to="listen")
        self._addresses = {self.number(j): address for j, address in enumerate(addresses)}
        self._driver = self._hands.meet(self._stages, self._nodes)
        return seats

    def listen_to_servers(self, room: str | None) -> dict[int, str]:
        """Let the stages listen for parameter servers, in a folder `room` where all are on one node."""
        addresses = self._all("bind_for_servers", room, to="listen to the parameter servers")
        return {self.number(j): address for j, address in enumerate(addresses)}

    def build(
        self,
        specs: Sequence[StageSpec],
        padding: Mapping[str, float],
        states: Sequence[tuple[Named, Named]],
        servers: Mapping[int, str] | None = None,
    ) -> list[tuple[str, ...]]:
        """Give each stage its part of the model: weights (and buffers), and the optimizer's state, piece by piece.

        Stages that have theirs already only get to know the others again.

        Args:
            servers: where the parameter servers listen, by their numbers.

        Returns:
            For each stage the names of the parameters that it trains by rows.
        """
        ways = self._addresses, self._driver, servers or {}
        calls = {
            self._who(j): stage.rejoin.remote(*ways) if j in self._built else stage.build.remote(spec, padding, *ways)
            for j, (stage, spec) in enumerate(zip(self._stages, specs, strict=True))
        }
        tables = wait_for(calls, to="build its part of the model", timeout=self._timeout)
        new = {j: state for j, state in enumerate(states) if j not in self._built}
        self._hands.give("weights", {j: weights for j, (weights, _) in new.items()})
        self._hands.give("moments", {j: moments for j, (_, moments) in new.items()})
        self._all("settle", to="have its part of the model")
        self._built.update(new)
        if self._spares is not None:
            on_cpus = zip(self._nodes, specs, self._devices, strict=True)
            self._spares.expect({node: spec for node, spec, device in on_cpus if device.kind == "cpu"})
        return tables

    def peaks(self) -> list[Peaks]:
        """How much memory each stage's process had at most; `train` counts from the last call."""
        return self._all("peaks", to="tell its memory")

    def start_step(self, orders: Sequence[StepOrder], parts: Refs) -> list[ray.ObjectRef[StageReport]]:
        """Send each stage its one message for a step."""
        return [stage.run_step.remote(order, *parts) for stage, order in zip(self._stages, orders, strict=True)]

    def finish_step(self, refs: Sequence[ray.ObjectRef[StageReport]], step: int) -> list[StageReport]:
        return wait_for(self.awaited(refs), to=f"run step {step}", timeout=self._timeout)

    def awaited(self, refs: Sequence[ray.ObjectRef[Any]]) -> dict[str, ray.ObjectRef[Any]]:
        """Calls of all stages, by who is awaited."""
        return {self._who(j): ref for j, ref in enumerate(refs)}

    def renew(self, version: int) -> None:
        """Let the stages get the weights after `version` updates from the parameter servers. No step may run."""
        self._all("renew", version, to="get the newest weights")

    def start_evaluation(self, call: int, parts: Refs) -> list[ray.ObjectRef[Any]]:
        return [stage.evaluate.remote(call, *parts) for stage in self._stages]

    def finish_evaluation(self, refs: Sequence[ray.ObjectRef[Any]]) -> list[Any]:
        """The answers to each micro-batch, row by row; only the stage with the last chunk has any."""
        answers: list[Any] = max(wait_for(self.awaited(refs), to="evaluate", timeout=self._timeout), key=len)
        return answers

    def run_batches(self, orders: Sequence[StepOrder], batches: Sequence[Mapping[str, Tensor]]) -> list[StageReport]:
        """One step on micro-batches that no data shard holds, from its start to its end."""
        calls = {
            self._who(j): stage.run_batches.remote(order, batches)
            for j, (stage, order) in enumerate(zip(self._stages, orders, strict=True))
        }
        return wait_for(calls, to=f"run step {orders[0].step}", timeout=self._timeout)

    def evaluate_batches(self, call: int, batches: Sequence[Mapping[str, Tensor]]) -> list[Any]:
        """The answers to each of these micro-batches, row by row."""
        answers: list[Any] = max(self._all("evaluate_batches", call, batches, to="evaluate"), key=len)
        return answers

    def take_gradients(self) -> dict[str, Tensor]:
        """All stages' gradients after a step without an update; forgets them."""
        gradients = {name: gradient for piece in self._hands.take("gradients") for name, gradient in piece.items()}
        self._all("forget_gradients", to="forget its gradients")
        return gradients

    def square_gradients(self) -> list[ray.ObjectRef[None]]:
        """Have every stage add the squares of its gradients, after a step without an update; forgets them."""
        return [stage.square_gradients.remote() for stage in self._stages]

    def importance(self) -> Iterator[tuple[str, Tensor]]:
        """The sums of these squares, of all stages, fetched piece by piece."""
        return (item for piece in self._hands.take("importance") for item in piece.items())

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """All stages' weights, fetched piece by piece. No step may run meanwhile."""
        return (item for piece in self._hands.take("weights") for item in piece.items())

    def moments(self) -> Iterator[tuple[str, Tensor]]:
        """All stages' optimizer state, in the same way."""
        return (item for piece in self._hands.take("moments") for item in piece.items())

    def close(self) -> None:
        """End the actors and free what was reserved; never waits for one that does not answer."""
        closing = [stage.close.remote() for stage in self._stages]
        ray.wait(closing, num_returns=len(closing), timeout=2)
        for stage in self._stages:
            ray.kill(stage)
        if self._owns_group:
            remove_placement_group(self._group)
        self._hands.close()

    def _who(self, j: int) -> str:
        return who(self.number(j))

    def _all(self, method: str, *args: Any, to: str) -> list[Any]:
        calls = {self._who(j): getattr(stage, method).remote(*args) for j, stage in enumerate(self._stages)}
        return wait_for(calls, to=to, timeout=self._timeout)
