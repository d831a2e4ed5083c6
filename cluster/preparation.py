"""What every run needs before its first step, however it is spread: data, labels, model, loss, and which rows when."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from cluster.data_crew import DataCrew
from cluster.weighing import weigh
from pipelines.adapt.ranks import ranks_left
from pipelines.config import Config
from pipelines.data.batches import Step, epoch_steps, padding_waste
from pipelines.data.labels import check_labels
from pipelines.data.shard import Lengths, SplitSummary
from pipelines.errors import UserError
from pipelines.model.pretrained import Pretrained
from pipelines.plan.left_open import decided
from pipelines.plan.plan import Plan
from pipelines.report.observer import Beginning
from pipelines.report.report import Report
from pipelines.take_up import AUTO, NEVER
from pipelines.tasks import make_task
from pipelines.tasks.all_labels import all_labels
from pipelines.tasks.class_weights import check_class_weights
from pipelines.tasks.settings import TaskSettings
from pipelines.tasks.task import Task
from pipelines.tasks.writing import Asked, WritingTask
from pipelines.tasks.writing_rules import WritingRules, rules_of
from pipelines.train.checkpoint import Checkpoint
from pipelines.train.checkpoint_choose import choose
from pipelines.train.elastic import ANCHOR, IMPORTANCE
from pipelines.train.importance import Importance
from pipelines.train.resume import as_before, check_same, check_unfinished, lasting


class Preparation:
    """Made in three steps, so that whoever prepares can start actors and refuse plans in between."""

    def __init__(self, config: Config, folder: Path | None = None) -> None:
        """Open the checkpoint to resume from, if there is one, and start the data shards.

        Args:
            folder: where the run goes.

        Raises:
            UserError: no such checkpoint, none that is not damaged, or one of another run.
        """
        self._folder = folder
        self.start: Checkpoint | None = None
        """What a resumed run goes on from."""
        self.notes: tuple[str, ...] = ()
        """What whoever watches the run should know of that."""
        # `auto` was settled by whoever holds the run's folder.
        if config.checkpoint.resume not in (AUTO, NEVER):
            chosen = choose(config.checkpoint.resume)
            self.start = chosen.checkpoint
            goes_on = f"Going on from step {self.start.step}: {self.start.folder}"
            self.notes = (*chosen.passed_over, goes_on)
            config = as_before(config, self.start)
            check_same(self.start, lasting(config), config.checkpoint.changes)
        self.config = config if config.plan.stages == "auto" else decided(config)
        """As it is run. What the config leaves open is as in the run that is resumed, or as where nothing is planned;
        it is still open where a new run is to be planned, until `decide`."""
        self._settings = TaskSettings(
            config.train.mask_probability,
            config.train.temperature,
            config.run.seed,
            config.train.distil,
            config.train.contrastive,
        )
        self._task = make_task(config.train.task, settings=self._settings)
        self.data = DataCrew(config.data, self._task, timeout=config.plan.timeout)

    def read(self) -> None:
        """Read the data, find the labels, load the model.

        Raises:
            UserError: data or model are not what the config needs.
        """
        config = self.config
        self._summaries = self.data.load()
        labels = {split: summary.labels for split, summary in self._summaries.items()}
        self.labels = all_labels(self._task, labels, config.data.labels)
        check_labels(labels, self.labels)
        check_class_weights(config.train.class_weights, self.labels)
        self.model = Pretrained(config, self._task, self.labels)
        ewc = config.train.ewc
        self._importance = None if ewc is None else Importance(ewc.importance, self.model.shapes())
        self.rules: WritingRules | None = None
        if isinstance(self._task, WritingTask) and config.train.max_new_tokens:
            self.rules = rules_of(self.model.generation, config.train.max_new_tokens)

    def encode(self) -> None:
        """Tokenise, weigh the targets, and count the steps.

        Raises:
            UserError: an example that no micro-batch has room for, or the checkpoint is of another run, or behind the
            end of this one.
        """
        config = self.config
        self.lengths: Mapping[str, Lengths] = self.data.encode(config.model.source, self.labels, self.model.max_length)
        longest = max(self.lengths["train"].lengths)
        if longest > config.train.token_budget:
            raise UserError(
                f"The longest example of the train split has {longest} sub-words (source and target together), and a "
                f"micro-batch has room for {config.train.token_budget}. Raise train.token_budget, or lower "
                "data.max_length."
            )
        self._loss, self.target_weights = weigh(config.train, self.labels, self.data, self.lengths["train"])
        # Any number of micro-batches makes as many steps.
        self.steps_per_epoch = len(self.epoch(0, micro_batches=1))
        wanted = config.train.epochs * self.steps_per_epoch
        self.num_steps = min(wanted, config.train.max_steps or wanted)
        stop_after = config.checkpoint.stop_after
        self.stop_step = None if stop_after is None else stop_after * self.steps_per_epoch
        if self.start is not None:
            check_same(self.start, self.facts, config.checkpoint.changes)
            check_unfinished(self.start, self.num_steps, self._folder, stop_step=self.stop_step)

    def decide(self, plan: Plan) -> None:
        """Do what the config leaves open as a plan has it. Before the first step."""
        assert plan.micro_batches is not None
        assert plan.recompute is not None
        self.config = decided(self.config, micro_batches=plan.micro_batches, recompute=plan.recompute)

    @property
    def facts(self) -> dict[str, Any]:
        """What a run that goes on from a checkpoint of this one may not change."""
        held = {} if self._importance is None else {"importance": self._importance.digest}
        return lasting(self.config) | {"labels": self.labels} | held

    @property
    def first_step(self) -> int:
        """Steps that were done before."""
        return 0 if self.start is None else self.start.step

    def held_back(self, names: Sequence[str]) -> Iterator[tuple[str, Tensor]]:
        """By what `train.ewc` holds named parameters back; the weights that the run began with are their anchors."""
        if self._importance is None:
            return
        trained = [name for name in names if name in self.model.trained]
        anchors = self.model.weights(trained)
        for name, value in self._importance.named(trained):
            yield f"{name}/{IMPORTANCE}", value
            yield f"{name}/{ANCHOR}", anchors[name]

    def head(self) -> Task:
        """The task with the settings of its loss."""
        return make_task(self.config.train.task, self._loss, replace(self._settings, rules=self.rules))

    def epoch(self, epoch: int, *, micro_batches: int | None = None, packed: bool = True) -> list[Step]:
        """The steps of an epoch; the first is 0.

        Args:
            micro_batches: pieces of each batch, to see what steps they would make; the config's when left out.
            packed: with `data.packing`; False to see what it saves.
        """
        train = self.config.train
        pieces = micro_batches or train.micro_batches
        assert pieces != "auto"
        return epoch_steps(
            self.lengths["train"].lengths,
            batch_size=train.batch_size,
            accumulate=train.accumulate,
            micro_batches=pieces,
            token_budget=train.token_budget,
            seed=self.config.run.seed,
            epoch=epoch,
            packing=self.model.max_length if self.config.data.packing and packed else None,
        )

    def target_weight(self, step: Step) -> float:
        """What the valid targets of a step weigh together: its loss is divided by it."""
        # Where there is no target there is nothing to divide: the loss is 0.
        return math.fsum(self.target_weights[row] for row in step.rows) or 1.0

    def report(self, split: str, answers: Mapping[int, Any]) -> Report:
        """The scores of a split.

        Args:
            answers: of the head, by example.
        """
        gold = self.data.gold(split)
        kept, settled = self._task.settled(gold, [answers[n] for n in range(len(gold))])
        return self._task.report([gold[n] for n in kept], settled, self.labels)

    def asked(self, split: str) -> dict[int, Asked]:
        """What is to be written for a split, by the number of the example: nothing where it is not wanted."""
        wanted = self.rules is not None and (split == "test" or self.config.train.generate)
        return self.data.asked(split) if wanted else {}

    def report_texts(self, report: Report, asked: Mapping[int, Asked], written: Mapping[int, Sequence[int]]) -> Report:
        """The scores of a split, with those of its texts."""
        # Imported here: only who scores needs it.
        from pipelines.report.texts import text_report

        assert isinstance(self._task, WritingTask)
        said = [self.model.text(self._task, written[row]) for row in asked]
        return text_report(report, [one.text for one in asked.values()], said)

    def save_model(
        self, folder: Path, weights: Iterable[tuple[str, Tensor]], moments: Iterable[tuple[str, Tensor]]
    ) -> None:
        """Write the trained model so that `from_pretrained` loads it.

        Args:
            moments: the optimizer's state; read for an adapter only.
        """
        ranks = {} if self.config.adapter is None else ranks_left(dict(moments))
        self.model.save(folder, weights, ranks, facts=self._task.facts(self._summaries["train"].counts))

    def beginning(self, plan: Mapping[str, Any]) -> Beginning:
        """What is known before the first step.

        Args:
            plan: with each stage's real device.
        """
        data = {split: _facts_of(summary, self.lengths[split]) for split, summary in self._summaries.items()}
        if self._loss.weights is not None:
            data["train"]["class_weights"] = dict(zip(self.labels, self._loss.weights, strict=True))
        lengths = self.lengths["train"].lengths
        data["train"]["padding_waste"] = round(padding_waste(self.epoch(0), lengths), 4)
        if self.config.data.packing:
            data["train"]["padding_waste_unpacked"] = round(padding_waste(self.epoch(0, packed=False), lengths), 4)
        return Beginning(
            self.num_steps, self.first_step, self.config.train.epochs, plan, data, self.labels, self.config
        )

    def close(self) -> None:
        """End the data shards."""
        self.data.close()


def _facts_of(summary: SplitSummary, lengths: Lengths) -> dict[str, Any]:
    return {
        "rows": summary.num_rows,
        "tags_repaired": summary.num_repaired,
        "sub_words": sum(lengths.lengths),
        "targets": sum(lengths.num_targets),
        "longest": max(lengths.lengths),
        "in_pieces": lengths.num_in_pieces,
        "cut": lengths.num_cut,
        "unseen": lengths.num_unseen,
    }
