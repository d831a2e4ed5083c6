"""Runs several replicas and their parameter servers in one process and one thread, as one_process.py does for one.

Replicas may be of different speed: in every round a stage of replica `r` gets at most one message, and only in every
`slowness[r]`-th round.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Sequence

import torch
from torch import Tensor, nn

from pipelines.config import TrainConfig
from pipelines.model.freeze import trained
from pipelines.model.load import config_of
from pipelines.model.units import Units, find_units
from pipelines.plan.pipeline import Pipeline
from pipelines.plan.schedules import make_schedule
from pipelines.plan.waves import Handed, Handing, Sharing, in_wave, split_in_waves
from pipelines.tasks import make_task
from pipelines.tasks.head import Head
from pipelines.train.events import StageReport
from pipelines.train.executor import Executor, StepOrder, WaveOrder
from pipelines.train.parameter_server import ParameterServer, ServerReport, ServerSpec
from pipelines.train.parameter_shards import cut_pieces, joined, share_out
from pipelines.train.poison import Poison, first_of
from pipelines.train.rates import rates_of
from pipelines.train.server_executor import ServerExecutor
from pipelines.train.specs import held, stage_specs
from pipelines.train.stage import Stage
from pipelines.train.transport import SPAN, Want, Within, server_number
from tests.unit.pipelines.one_process import CPU, Batch, Mail, probe

Place = tuple[int, int]
"""Replica and stage."""


class SeveralReplicas:
    """Replicas, each with its own cut, and servers, all of which take turns."""

    def __init__(
        self,
        model: nn.Module,
        *,
        cuts: Sequence[Sequence[int]],
        servers: int,
        train: TrainConfig,
        dtype: str = "float32",
        sharing: Sharing = "sync",
        staleness: int = 0,
        shares: Sequence[float] | None = None,
        slowness: Sequence[int] | None = None,
        piece: int = 2048,
        num_steps: int = 20,
        moments: dict[str, Tensor] | None = None,
        version: int = 0,
        head: Head | None = None,
        units: Units | None = None,
        num_targets: int | None = None,
    ) -> None:
        """`piece`: bytes of a piece at most; `moments` and `version`: of the run that goes on here."""
        units = units or find_units(model, probe())
        self._num_targets = num_targets
        learnt = trained(model)
        parameters, buffers = dict(model.named_parameters()), dict(model.named_buffers())
        itemsize = torch.finfo(getattr(torch, dtype)).bits // 8
        shapes = {name: tuple(parameters[name].shape) for name in learnt}
        owners = share_out(cut_pieces(shapes, itemsize=itemsize, limit=piece), servers)
        self.mail, self.sharing, self.staleness = Mail(), sharing, staleness
        self.shares = [1.0] if sharing == "async" else list(shares or [1.0] * len(cuts))
        self.slowness = list(slowness or [1] * len(cuts))
        self.version = version
        self.executors: dict[Place, Executor] = {}
        self.stages: dict[Place, Stage] = {}
        for r, cut in enumerate(cuts):
            specs = stage_specs(
                units, [0, *cut, len(units)], range(len(cut) + 1), head=head or make_task("token-classification"),
                model_class=type(model).__name__, model_config=config_of(model), dtype=dtype, train=train, seed=7,
                num_steps=num_steps, trained=frozenset(learnt), owners=owners,
            )  # fmt: skip
            for spec in specs:
                stage = Stage(spec, CPU)
                stage.load({name: parameters[name].detach() for name in held(units, spec)} | buffers)
                stage.check_loaded()
                post = self.mail.of(r * SPAN + spec.stage)
                self.stages[r, spec.stage] = stage
                self.executors[r, spec.stage] = Executor(stage, Within(post, post, r))
        tables = frozenset(name for stage in self.stages.values() for name in stage.table_names)
        self.servers = []
        self._handlers = []
        for k, pieces in enumerate(owners):
            server_spec = ServerSpec(
                k, servers, pieces, tables, dtype, train, num_steps, version, in_order=sharing != "async",
                copy_every=10, settled=sharing == "sync", rates=rates_of(units, train.layer_decay),
            )  # fmt: skip
            server = ParameterServer(server_spec, CPU)
            server.load({name: parameters[name].detach() for name in learnt})
            server.check_loaded()
            server.restore(moments or {})
            self.servers.append(server)
            self._handlers.append(ServerExecutor(server, self.mail.of(server_number(k))))
        self.reports: list[ServerReport] = []
        self.poisons: dict[int, Poison | None] = {}
        """By step the first that is not finite in what any stage saw of its waves."""
        self.waves_run = [0] * len(cuts)

    def run(self, steps: Sequence[list[Batch]]) -> list[float]:
        """All steps; returns their losses."""
        queue = Handing(self.sharing, self.staleness)
        first = self.version
        for number, batches in enumerate(steps):
            queue.add(first + number, split_in_waves(len(batches), self.shares))
        running: dict[Place, Generator[Want, list[Tensor], StageReport]] = {}
        waiting: dict[Place, Want | None] = {}
        losses: dict[int, list[float]] = {}
        tick = idle = 0
        while len(queue) or running or self.mail.box:
            tick, idle = tick + 1, idle + 1
            assert idle < 20, f"every stage waits: {waiting}"
            for r in range(len(self.slowness)):
                if not any(place[0] == r for place in running):
                    handed = queue.take(r, self.version)
                    if handed is not None:
                        self.waves_run[r] += 1
                        begun = dict(self._begin(r, handed, steps[handed.step - first]))
                        running |= begun
                        waiting |= dict.fromkeys(begun)
            for place, wanted in list(waiting.items()):
                if tick % self.slowness[place[0]]:
                    continue
                ready, message = self._mail_for(place, wanted)
                if not ready:
                    continue
                idle = 0
                try:
                    waiting[place] = running[place].send(message) if message is not None else next(running[place])
                except StopIteration as end:
                    del running[place], waiting[place]
                    self.poisons[end.value.step] = first_of((self.poisons.get(end.value.step), end.value.poison))
                    if end.value.loss is not None:
                        losses.setdefault(end.value.step, []).append(end.value.loss)
            idle = 0 if self._serve() else idle
        return [math.fsum(losses[step]) for step in sorted(losses)]

    def _begin(
        self, r: int, handed: Handed, batches: list[Batch]
    ) -> Iterator[tuple[Place, Generator[Want, list[Tensor], StageReport]]]:
        wave = handed.wave
        targets = float(self._num_targets or sum(int((batch["labels"] != -100).sum()) for batch in batches))
        places = [place for place in self.executors if place[0] == r]
        todo = make_schedule("1f1b", Pipeline(tuple(range(len(places)))), wave.end - wave.first)
        order = WaveOrder(handed.number, handed.num_waves, wave.first, handed.version)
        for place, actions in zip(places, todo, strict=True):
            step = StepOrder(handed.step, in_wave(actions, wave.first), targets, order)
            yield place, self.executors[place].step(step, batches[wave.first : wave.end])

    def _mail_for(self, place: Place, wanted: Want | None) -> tuple[bool, list[Tensor] | None]:
        if wanted is None:
            return True, None
        sender, tag = wanted
        r, j = place
        key = (r * SPAN + j, sender if sender < 0 else r * SPAN + sender, tag)
        return key in self.mail.box, self.mail.box.pop(key, None)

    def _serve(self) -> bool:
        """Give each server the messages that came for it, in their order."""
        served = False
        for k, handler in enumerate(self._handlers):
            for key in [key for key in self.mail.box if key[0] == server_number(k)]:
                served = True
                reports = handler.handle(key[1], key[2], self.mail.box.pop(key))
                self.reports += reports if k == len(self._handlers) - 1 else []
        self.version = min(server.version for server in self.servers)
        return served

    def weights(self) -> dict[str, Tensor]:
        named = (item for server in self.servers for item in server.named_weights())
        return {name: value.clone() for name, value in joined(named)}

    def moments(self) -> dict[str, Tensor]:
        named = (item for server in self.servers for item in server.named_moments())
        return {name: value.clone() for name, value in joined(named)}
