"""Plain data parallel by Ray Train: its workers run the steps, and this process listens, scores and writes.

    driver (this file)          Ray Train
    prepare, start  ----------> controller ---- starts, and starts again ----> worker 0, 1, ...
    listen  <---------------------------- desk <----------------------------- steps, answers, checkpoints

Workers that are lost are started again by Ray Train from the last checkpoint; steps that were told before are not
told again.
"""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayActorError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from cluster.data_worker import Errand
from cluster.desk import Answered, DeskActor, Failed, Message, Noted, Saved, Started, Stepped
from cluster.driver import Stopped, StopRequest
from cluster.placement import Wanted, check_room
from cluster.preparation import Preparation
from cluster.ray_train import TrainerActor, tidy
from cluster.waiting import ActorLost
from pipelines.config import Config
from pipelines.data.anonymous import MemoryUse
from pipelines.plan.plan import make_plan, with_local
from pipelines.plan.strategy import MAX_FAILURES, num_workers
from pipelines.report.observer import Observer, StepNumbers
from pipelines.train.checkpoint import open_checkpoint, step_of
from pipelines.train.events import StageReport, added
from pipelines.train.local import localised
from pipelines.train.optimizers import learning_rate
from pipelines.train.poison import told
from pipelines.train.shelf import Shelf
from pipelines.train.specs import held, stage_specs

GLANCE = 0.5
"""Seconds between two looks at whether a stop was asked for."""


class DataParallel:
    """One run of `plan.strategy: data`; used as a Driver is."""

    def __init__(self, config: Config, folder: Path, observer: Observer, *, may_grow: bool, stop: StopRequest) -> None:
        """Everything up to the first step.

        Raises:
            UserError: data, model, plan or cluster are not what the config needs; nothing was written.
        """
        self._folder, self._observer, self._stop = folder, observer, stop
        self._fewest, self._most = num_workers(config.plan)
        self._training: ray.ObjectRef[None] | None = None
        self._trainer: Any = None
        self._desk: Any = None
        self._begun = self._stopping = False
        self._awaited: ray.ObjectRef[list[Message]] | None = None
        self._previous_end = 0.0
        self._checkpoint: Path | None = None
        self._steps: dict[int, dict[int, StageReport]] = {}
        self._answers: dict[tuple[str, int], dict[int, dict[int, Any]]] = {}
        self._scored: dict[tuple[str, int], float] = {}
        self._run = Preparation(config, folder)
        self._shelf = Shelf(folder, config.checkpoint, observer.note)
        for note in self._run.notes:
            observer.note(note)
        if self._run.start is not None:
            # Where nothing is left to do but to end.
            self._checkpoint = self._run.start.folder
        self._config = config = self._run.config
        try:
            check_room(
                [Wanted("gpu" if config.plan.devices == "gpu" else "cpu", config.plan.cpus_per_stage)] * self._fewest,
                may_grow=may_grow,
            )
            self._run.read()
            self.plan = with_local(make_plan(self._run.model.units, config.plan, self._run.model.trained), config)
            self._run.encode()
            if self._run.rules is not None:
                observer.note("with plan.strategy=data no texts are written, and none are scored")
            self._told = self._run.first_step
            self._desk = DeskActor.options(num_cpus=0).remote()
            self._training = self._start()
            self._plan = self._placed()
            observer.begin(self._run.beginning(self._plan))
            self._begun = True
        except BaseException:
            self.close()
            raise

    def run(self) -> None:
        """Listen until Ray Train is done.

        Raises:
            Stopped: a stop was asked for; a checkpoint was saved.
            ActorLost: more workers were lost than `plan.max_failures` allows.
        """
        while (messages := self._news()) is not None:
            for message in messages:
                self._take(message)
            if self._stop.signal is not None and not self._stopping:
                self._stopping = True
                self._desk.stop.remote()
        if self._stop.signal is not None and self._told < self._run.num_steps:
            assert self._checkpoint is not None
            raise Stopped(self._checkpoint, self._stop.signal)

    def save_model(self, folder: Path) -> None:
        """Write the trained model so that `from_pretrained` loads it."""
        assert self._checkpoint is not None
        last, names = open_checkpoint(self._checkpoint), self._run.model.trained
        self._run.save_model(folder, last.weights(names), last.moments(names))

    def data_memory(self) -> list[MemoryUse]:
        """What memory each data shard took."""
        return self._run.data.use()

    def close(self) -> None:
        """End all actors: Ray Train's controller and workers end with the actor that called it."""
        if self._training is not None:
            self._training = None
            ray.kill(self._trainer)
            tidy(self._folder, begun=self._begun)
        if self._desk is not None:
            ray.kill(self._desk)
            self._desk = None
        self._run.close()

    # -- starting -------------------------------------------------------------------------------

    def _start(self) -> ray.ObjectRef[None]:
        run, config, start = self._run, self._config, self._run.start
        (whole,) = self.plan.replicas
        specs = stage_specs(
            run.model.units,
            whole.bounds,
            whole.stage_of,
            head=run.head(),
            model_class=run.model.model_class,
            model_config=run.model.config,
            dtype=config.model.dtype,
            train=config.train,
            seed=config.run.seed,
            num_steps=run.num_steps,
            trained=frozenset(run.model.trained),
            adapter=run.model.adapter(num_steps=run.num_steps),
        )
        chosen = [stage.local for stage in self.plan.stages if stage.local is not None]
        (spec,) = localised(specs, config.train, chosen)
        names = held(run.model.units, spec)
        weights, moments = run.model.weights(names), {}
        if start is not None:
            weights |= dict(start.weights(names))
            moments = dict(start.moments(names))
        errand = Errand(
            config=config,
            folder=self._folder,
            spec=spec,
            threads=chosen[0].threads,
            padding=run.model.padding,
            state=ray.put((weights, moments)),
            first_step=run.first_step,
            lengths={split: lengths.lengths for split, lengths in run.lengths.items()},
            target_weights=run.target_weights,
            steps_per_epoch=run.steps_per_epoch,
            facts=run.facts,
            data=run.data,
            desk=self._desk,
        )
        # In a process of its own: whoever waits for Ray Train can be neither asked to stop nor told anything.
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self._trainer = TrainerActor.options(num_cpus=0, scheduling_strategy=here).remote()
        training: ray.ObjectRef[None] = self._trainer.train.remote(errand)
        return training

    def _placed(self) -> dict[str, Any]:
        """The plan with the workers as they sit, one entry for each that there may be."""
        started: dict[int, Started] = {}
        while not started or len(started) < next(iter(started.values())).num_workers:
            messages = self._news()
            if messages is None:
                raise ActorLost("Ray Train ended before a worker had started.")
            for message in messages:
                if isinstance(message, Started):
                    started[message.worker] = message
                else:
                    self._take(message)
        plan = self.plan.to_json()
        (whole,) = plan["stages"]
        share = round(1 / len(started), 4)
        nobody = {"assigned": "not there yet", "gpu": None, "node": ""}
        seats = [started[n].seat.facts() if n in started else nobody for n in range(self._most)]
        plan["strategy"] = "data"
        plan["stages"] = [{**whole, "stage": n, "share": share, **seat} for n, seat in enumerate(seats)]
        return plan

    # -- listening ------------------------------------------------------------------------------

    def _news(self) -> list[Message] | None:
        """What the workers told since the last call, empty if a stop was asked for; None when all is over.

        Raises:
            TimeoutError: nobody told anything for `plan.timeout` seconds.
            UserError, FloatingPointError: as a worker said.
            ActorLost: Ray Train gave up.
        """
        assert self._training is not None
        timeout = self._config.plan.timeout
        deadline = time.monotonic() + timeout
        while True:
            self._awaited = self._awaited or self._desk.news.remote()
            done, _ = ray.wait([self._awaited, self._training], timeout=GLANCE)
            if self._awaited in done:
                messages: list[Message] = ray.get(self._awaited)
                self._awaited = None
                for message in messages:
                    if isinstance(message, Failed):
                        raise message.error
                return messages
            if done:
                self._check_end(self._training)
                return None
            if self._stop.signal is not None and not self._stopping:
                return []
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"Waited {timeout:g} s for any of the workers to tell how far it is (plan.timeout); Ray Train "
                    f"wants {self._fewest} to {self._most} of them."
                )

    def _check_end(self, training: ray.ObjectRef[None]) -> None:
        try:
            ray.get(training)
        except (RayActorError, RayTaskError) as error:
            allowed = self._config.plan.max_failures
            failures = MAX_FAILURES if allowed is None else allowed
            cause = error.cause if isinstance(error, RayTaskError) else error
            reason = " ".join(str(cause).split())[:500]
            raise ActorLost(f"Ray Train gave up (plan.max_failures={failures}): {reason}") from error

    def _take(self, message: Message) -> None:
        if isinstance(message, Stepped):
            self._stepped(message)
        elif isinstance(message, Answered):
            self._answered(message)
        elif isinstance(message, Saved):
            if self._checkpoint != message.checkpoint:
                self._checkpoint = message.checkpoint
                self._observer.saved(message.checkpoint, None)
                self._sort_out()
        elif isinstance(message, Noted):
            self._observer.note(message.text)
        elif isinstance(message, Started) and message.worker == 0:
            self._steps.clear()
            self._answers.clear()
            self._previous_end = 0.0
            self._observer.note(
                f"the workers were started again ({message.num_workers} of them); they go on from step "
                f"{message.first_step}"
            )

    def _stepped(self, message: Stepped) -> None:
        number = message.report.step
        reports = self._steps.setdefault(number, {})
        reports[message.report.stage] = message.report
        if len(reports) < message.num_workers:
            return
        del self._steps[number]
        if number < self._told:
            return
        self._told = number + 1
        run, ordered = self._run, [reports[n] for n in range(message.num_workers)]
        begin = self._previous_end or min(report.events[0].start for report in ordered)
        self._previous_end = max(report.events[-1].end for report in ordered)
        step = run.epoch(number // run.steps_per_epoch)[number % run.steps_per_epoch]
        # Elastic workers that are not there now.
        absent = [replace(ordered[0], stage=n, events=(), bytes_sent=0) for n in range(len(ordered), self._most)]
        self._observer.step(
            StepNumbers(
                step=self._told,
                epoch=number // run.steps_per_epoch + 1,
                loss=added(chain.from_iterable((report.loss or 0.0, *report.penalties) for report in ordered)),
                grad_norm=ordered[0].grad_norm,
                learning_rate=learning_rate(number, run.num_steps, self._config.train),
                num_tokens=sum(run.lengths["train"].lengths[row] for row in step.rows),
                rows=step.rows,
                seconds=self._previous_end - begin,
                ideal_seconds=max(report.busy for report in ordered),
                bytes_sent=sum(report.bytes_sent for report in ordered),
                reports=[*ordered, *absent],
                poison=told(self._told, ordered[0].poison, [one.rows for one in step.micro_batches]),
            )
        )

    def _answered(self, message: Answered) -> None:
        key = message.split, message.step
        parts = self._answers.setdefault(key, {})
        parts[message.worker] = message.answers
        if len(parts) < message.num_workers or key in self._scored:
            return
        del self._answers[key]
        answers = {row: found for part in parts.values() for row, found in part.items()}
        report = self._run.report(message.split, answers)
        epoch = -(-message.step // self._run.steps_per_epoch)
        self._scored[key] = report.score
        self._observer.scored(message.split, epoch=epoch, step=message.step, report=report)
        self._previous_end = 0.0
        if message.split == "dev":
            self._sort_out()

    def _sort_out(self) -> None:
        """Of the newest checkpoint, the score and the word that it is saved come in any order."""
        if self._checkpoint is not None:
            self._shelf.sort_out(self._checkpoint, self._scored.get(("dev", step_of(self._checkpoint))))
