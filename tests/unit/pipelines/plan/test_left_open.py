"""The number of micro-batches and running blocks again, where the config leaves them to the planner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.config import Config
from pipelines.errors import UserError
from pipelines.plan.choose import Choice, Chooser
from pipelines.plan.devices import Device
from pipelines.plan.left_open import Work, best, decided, numbers, recomputes
from pipelines.plan.measured import Link, Measured, MeasuredType, Shape, Times
from pipelines.plan_settings import PlanConfig
from pipelines.train.checkpoint import Checkpoint, open_checkpoint
from pipelines.train.checkpoint_write import save_checkpoint
from pipelines.train.resume import as_before, check_same, lasting
from tests.unit.pipelines.plan.test_choose import UNITS, kind
from tests.unit.pipelines.plan.test_replicate import replicate

ROWS, WIDTH = 16, 8
WORKS = [Work(n, ((Shape(ROWS // n, WIDTH),) * n,), Shape(ROWS // n, WIDTH)) for n in (1, 2, 4, 8, 16)]
HELD = 100_000


def times(shape: Shape, *, call: float, kept: int) -> Times:
    """A unit takes a millisecond for a row, and `call` seconds whatever it is given; `kept` bytes for each row."""
    each = (call + 1e-3 * shape.rows,) * len(UNITS)
    return Times(
        shape,
        forward=each,
        backward=(0.0, *each[1:]),
        weights=each,
        stage_forward=0.0,
        stage_backward=0.0,
        kept=(kept * shape.rows,) * len(UNITS),
        noted=(0,) * len(UNITS),
        crossing=((64, 64),) * (len(UNITS) - 1),
    )


class Cluster:
    """Two devices, and what was asked to be measured on them."""

    def __init__(self, *, call: float = 0.0, memory: int = 2**30, kept: int = 1000, kept_again: int = 100) -> None:
        self.call, self.memory, self.kept, self.kept_again = call, memory, kept, kept_again
        self.asked: list[bool] = []

    def __call__(self, recompute: bool) -> Chooser:
        self.asked.append(recompute)
        kept = self.kept_again if recompute else self.kept
        found = tuple(times(work.largest, call=self.call, kept=kept) for work in WORKS)
        kind = MeasuredType("chip", "cpu", "chip", 1, "float32", self.memory, found, (0.0,) * len(UNITS), (1.0,))
        links = (Link(("chip", "chip"), 1e-6, 1e12),)
        measured = Measured("Model", tuple(u.name for u in UNITS.all), (HELD,) * len(UNITS), (kind,), links, {})
        devices = [Device("chip", "cpu", f"node-{n}", 1.0, 0, self.memory, "chip", 1) for n in range(2)]
        return Chooser(measured, devices, UNITS, PlanConfig(), None)


def plan(cluster: Cluster, works: Sequence[Work] = WORKS, recompute: Sequence[bool] = (False,)) -> Choice:
    return best(cluster, works, recompute, lambda value: f"{value:.3f} s")


def test_powers_of_two_up_to_the_batch_are_tried_and_32_at_most() -> None:
    def tried(**train: object) -> tuple[int, ...]:
        return numbers(Config.model_validate({"train": train}).train)

    assert tried(batch_size=16, micro_batches="auto") == (1, 2, 4, 8, 16)
    assert tried(batch_size=13, micro_batches="auto") == (1, 2, 4, 8)
    assert tried(batch_size=1, micro_batches="auto") == (1,)
    assert tried(batch_size=512, micro_batches="auto") == (1, 2, 4, 8, 16, 32)
    assert tried(batch_size=512, micro_batches=3) == (3,)


def test_blocks_run_again_is_the_last_thing_tried_and_only_where_there_are_blocks() -> None:
    train = Config.model_validate({"train": {"recompute": "auto"}}).train
    assert recomputes(train, blocks=True) == (False, True)
    assert recomputes(train, blocks=False) == (False,)
    assert recomputes(train.model_copy(update={"recompute": True}), blocks=True) == (True,)


def test_where_a_call_costs_nothing_more_and_smaller_micro_batches_keep_both_stages_busier() -> None:
    choice = plan(Cluster())
    assert choice.plan.micro_batches == 16
    assert choice.plan.recompute is False


def test_where_a_call_costs_much_few_micro_batches_are_faster() -> None:
    assert plan(Cluster(call=1.0)).plan.micro_batches == 1
    assert plan(Cluster(call=3e-4)).plan.micro_batches == 4


def test_no_number_is_predicted_to_be_faster_than_the_one_that_is_taken() -> None:
    cluster = Cluster(call=3e-4)
    alone = {work.micro_batches: plan(cluster, [work]) for work in WORKS}
    taken = plan(cluster)
    assert taken.value == min(choice.value for choice in alone.values())
    assert len(taken.actions[0]) == len(alone[4].actions[0])


def test_the_plan_says_what_other_numbers_would_take() -> None:
    (why,) = plan(Cluster(call=1.0), WORKS[:2]).plan.left_open
    assert why == "1 micro-batch of every batch: 19.304 s a step, 28.224 s with 2."


def test_numbers_that_do_not_fit_are_passed_over_and_named() -> None:
    # Two devices hold four units each; the first also two micro-batches under way, of 4 rows at most.
    tight = Cluster(call=1.0, memory=4 * HELD + 4 * 1000 * 9)
    choice = plan(tight)
    assert choice.plan.micro_batches == 4
    assert choice.plan.left_open[0].endswith("no plan with 1 or 2.")
    assert tight.asked == [False]


def test_numbers_that_the_token_budget_makes_the_same_are_tried_once() -> None:
    same = [replace(WORKS[2], micro_batches=n) for n in (1, 2, 4)]
    choice = plan(Cluster(), same)
    assert choice.plan.micro_batches == 1
    assert choice.plan.left_open == ()


def test_what_the_config_says_is_measured_and_planned_as_it_says_and_needs_no_words() -> None:
    cluster = Cluster()
    choice = plan(cluster, WORKS[3:4], (True,))
    assert (choice.plan.micro_batches, choice.plan.recompute, choice.plan.left_open) == (8, True, ())
    assert cluster.asked == [True]


def test_blocks_are_not_run_again_where_the_model_fits_without() -> None:
    cluster = Cluster()
    assert plan(cluster, recompute=(False, True)).plan.recompute is False
    assert cluster.asked == [False]


def test_blocks_are_run_again_where_nothing_fits_without_and_the_plan_says_why() -> None:
    cluster = Cluster(memory=4 * HELD + 4 * 1000)
    choice = plan(cluster, WORKS[:3], (False, True))
    assert choice.plan.recompute is True
    assert choice.plan.left_open[-1].startswith("blocks are run again; without: The model does not fit into 2 chip of ")
    assert cluster.asked == [False, True]


def test_what_fits_in_no_way_is_refused_with_what_was_tried_last() -> None:
    with pytest.raises(UserError, match=r"does not fit .* with train.micro_batches=16 and train.recompute=true; noth"):
        plan(Cluster(memory=2 * HELD), recompute=(False, True))
    with pytest.raises(UserError, match=r"or more devices\.$"):
        plan(Cluster(memory=2 * HELD), WORKS[:1])


OPEN = Config.model_validate({"train": {"micro_batches": "auto", "recompute": "auto"}})


def test_where_nothing_is_planned_there_are_four_micro_batches_and_blocks_run_once() -> None:
    assert decided(OPEN).train == Config().train
    given = Config.model_validate({"train": {"micro_batches": 3, "recompute": True}})
    assert decided(given, micro_batches=8, recompute=False) == given


def checkpoint(folder: Path, config: Config) -> Checkpoint:
    save_checkpoint(folder, step=1, facts=lasting(config), parts=[])
    return open_checkpoint(str(folder))


def test_a_resumed_run_goes_on_with_what_was_planned_for_it_before(tmp_path: Path) -> None:
    start = checkpoint(tmp_path, decided(OPEN, micro_batches=8, recompute=True))
    again = as_before(OPEN, start)
    assert (again.train.micro_batches, again.train.recompute) == (8, True)
    check_same(start, lasting(again))
    with pytest.raises(UserError, match="comes from another run: its train is"):
        check_same(start, lasting(as_before(Config(), start)))


def test_of_several_replicas_the_exchange_counts_whatever_the_number_of_micro_batches() -> None:
    choice = replicate([kind("fast", 1), kind("slow", 3)], [1, 1], num_bytes=10_000_000)
    assert choice.value == choice.plan.seconds
    alone = replicate([kind("fast", 1)], [1], replicas=1, num_bytes=10_000_000)
    assert alone.value == alone.plan.seconds
