"""Devices of a cluster with unlike nodes: found, told apart, and measured."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.crew import StageCrew
from cluster.devices import discover
from cluster.placement import Wanted
from cluster.profiling import profile
from pipelines.config import Config
from pipelines.errors import UserError
from pipelines.plan.devices import Device
from pipelines.plan.measured import Measured
from tests.cluster.rays import Rays
from tests.cluster.test_training import assert_bitwise_equal, run, weights
from tests.tiny import write_data, write_model

pytestmark = [pytest.mark.timeout(240), pytest.mark.usefixtures("two_nodes")]


@pytest.fixture(scope="module")
def two_nodes(rays: Rays, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A node of two CPUs, one that is slowed and believes in a GPU, and one that is kept for something else."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("MOTLEY_CACHE", str(tmp_path_factory.mktemp("cache")))
        rays.several_nodes(
            {"num_cpus": 2, "labels": {"motley.device": "fast"}},
            {"num_cpus": 1, "num_gpus": 1, "labels": {"motley.device": "slow", "motley.slowdown": "3"}},
            {"num_cpus": 4, "labels": {"motley.device": "none"}},
        )
        yield


class Told:
    """Keeps what is told of the progress."""

    def __init__(self) -> None:
        self.what: dict[str, tuple[int, int]] = {}

    def __call__(self, what: str, done: int, total: int) -> None:
        self.what[what] = done, total


def facts(devices: list[Device]) -> list[tuple[str, str, float, float, bool]]:
    return sorted((d.type, d.kind, d.cpus, d.slowdown, d.logical) for d in devices)


def test_every_slice_of_cpus_and_every_gpu_is_a_device_of_its_node() -> None:
    devices = discover(1, timeout=60)
    assert facts(devices) == [("fast", "cpu", 1, 1.0, False)] * 2 + [("slow", "gpu", 1, 3.0, True)]
    assert len({device.node for device in devices}) == 2
    assert min(device.memory for device in devices) > 2**20
    # The slowed node is too small for stages of two CPUs.
    assert facts(discover(2, timeout=60)) == [("fast", "cpu", 2, 1.0, False)]
    with pytest.raises(UserError, match=r"No node has the 3 CPUs of one stage .*: the largest has 2"):
        discover(3, timeout=60)


def test_a_stage_on_a_slowed_node_says_so() -> None:
    (slow,) = (device for device in discover(1, timeout=60) if device.type == "slow")
    crew = StageCrew([Wanted("gpu", 1, slow.node)], "token-classification", may_grow=False, timeout=60)
    try:
        (seat,) = crew.meet()
        said = "CPU, 1 thread, slowed 3x in place of a GPU, which Ray assigned but this node has not"
        assert (seat.node, seat.device) == (slow.node, said)
    finally:
        crew.close()


def test_stages_on_two_nodes_listen_where_the_others_can_reach_them() -> None:
    fast, slow = (next(d for d in discover(1, timeout=60) if d.type == name) for name in ("fast", "slow"))
    seats = [Wanted("cpu", 1, fast.node), Wanted("gpu", 1, slow.node)]
    crew = StageCrew(seats, "token-classification", may_grow=False, timeout=60)
    try:
        assert [seat.node for seat in crew.meet()] == [fast.node, slow.node]
        first, second = crew._addresses.values()
        assert first.seen_from(second.node).startswith("tcp://")
    finally:
        crew.close()


def settings(
    folder: Path,
    plan: dict[str, Any],
    *,
    micro_batches: int = 1,
    dtype: str = "float32",
    resume: Path | None = None,
) -> Config:
    return Config.model_validate(
        {
            "model": {"source": str(folder / "model"), "dtype": dtype},
            "data": {"path": str(folder / "data"), "shards": 1},
            "train": {"batch_size": 48, "micro_batches": micro_batches, "epochs": 3, "learning_rate": 3e-3},
            "plan": {"cpus_per_stage": 1, "timeout": 120} | plan,
            "checkpoint": {"keep": 9, "resume": "never" if resume is None else str(resume)},
        }
    )


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("given")
    write_model(folder / "model", layers=2)
    write_data(folder / "data")
    return folder


def test_units_devices_at_once_and_ways_are_measured_and_then_known(given: Path) -> None:
    told = Told()
    measured = profile(settings(given, {}), tell=told)
    # One shape: embeddings, every other unit, these together; a rehearsal. One and both devices at once, five times.
    assert told.what == {
        "units on fast": (4, 4),
        "several fast at once": (10, 10),
        "units on slow": (4, 4),
        "ways between devices": (3, 3),
    }
    assert {(kind.name, kind.kind, len(kind.rates)) for kind in measured.types} == {
        ("fast", "cpu", 2), ("slow", "gpu", 1),
    }  # fmt: skip
    assert work(measured, "slow") > 1.5 * work(measured, "fast")
    ways = {(*link.ends, link.same_node) for link in measured.links}
    assert ways == {("fast", "fast", True), ("fast", "slow", False), ("slow", "slow", True)}
    assert min(link.bandwidth for link in measured.links) > 1e6
    again = Told()
    assert profile(settings(given, {}), tell=again) == measured
    assert list(again.what) == ["ways between devices"]


def test_what_is_known_is_scaled_to_how_fast_devices_are_now(given: Path) -> None:
    known = profile(settings(given, {}))
    folder = Path(os.environ["MOTLEY_CACHE"]) / "measured"
    (file,) = (path for path in folder.rglob("*.yaml") if path.name.startswith("fast"))
    text = file.read_text(encoding="utf-8")
    # An owner's hand: everything that takes forward takes a thousand times as long.
    file.write_text(
        re.sub(r"forward_ms: (\S+?)([,}\s])", lambda m: f"forward_ms: {1e3 * float(m[1])}{m[2]}", text), "utf-8"
    )
    wrong = profile(settings(given, {}))
    assert sum(wrong.type("fast").times[0].forward) > 900 * sum(known.type("fast").times[0].forward)
    told = Told()
    right = profile(settings(given, {}), correct=True, tell=told)
    assert {what for what in told.what if "whole steps" in what} == {"whole steps on fast", "whole steps on slow"}
    # Noise is not a factor of thirty.
    for now, then in zip(right.type("fast").times, wrong.type("fast").times, strict=True):
        assert sum(now.forward) < 0.03 * sum(then.forward)
        assert 0.03 * sum(then.backward) < sum(now.backward) < 30 * sum(then.backward)
    assert profile(settings(given, {})) == right


def test_a_run_plans_for_its_devices_and_learns_what_one_stage_learns(given: Path, tmp_path: Path) -> None:
    found = run(settings(given, {}), tmp_path / "found")
    one = run(settings(given, {"stages": 1, "devices": "gpu"}), tmp_path / "given")
    # Its stages are on two nodes, whatever was found.
    start = tmp_path / "found" / "checkpoints" / "step-00000001"
    placed = run(settings(given, {"place": {"*.layer.*": "gpu"}}, resume=start), tmp_path / "placed")
    assert found.choice is not None
    assert one.choice is None
    # What was measured for the plan tells what a run without one will take, too.
    assert all(numbers.predicted_seconds is not None for watcher in (found, one, placed) for numbers in watcher.steps)
    assert [numbers.step for numbers in placed.steps] == [2, 3]
    assert placed.beginning is not None
    assert len({stage["node"] for stage in placed.beginning.plan["stages"]}) == 2
    seats = {name: stage["assigned"] for stage in placed.beginning.plan["stages"] for name in stage["units"]}
    assert ["slowed 3x" in seat for name, seat in seats.items() if "layer" in name] == [True, True]
    assert_bitwise_equal(tmp_path / "given", tmp_path / "found")
    assert_bitwise_equal(tmp_path / "given", tmp_path / "placed")


def test_two_planned_replicas_share_steps_by_speed_and_learn_what_one_learns(given: Path, tmp_path: Path) -> None:
    two, one = (
        run(settings(given, plan, micro_batches=8, dtype="float64"), tmp_path / name)
        for name, plan in {"two": {"replicas": 2, "servers": 1}, "one": {"stages": 1}}.items()
    )
    assert two.choice is not None
    assert two.beginning is not None
    plan = two.choice.plan
    assert plan.shares is not None
    share = {cut.stages[0].device: share for cut, share in zip(plan.replicas, plan.shares, strict=True)}
    # The other CPU of the fast node is the server's.
    assert share.keys() == {"fast", "slow"}
    assert share["fast"] > share["slow"]
    assert sum(plan.shares) == 8
    assert plan.left_out[0].startswith("1 of 2 fast kept free for parameter servers")
    assert plan.why is not None
    assert two.beginning.plan["shares"] == list(plan.shares)
    assert [stage["node"] for stage in two.beginning.plan["stages"]] == [stage.node for stage in plan.stages]
    assert [numbers.waves for numbers in two.steps] == [(1, 1)] * 3
    assert all(numbers.predicted_seconds is not None for numbers in two.steps)
    assert [n.loss for n in two.steps] == pytest.approx([n.loss for n in one.steps], rel=1e-10)
    first, second = weights(tmp_path / "two"), weights(tmp_path / "one")
    assert max((first[name] - second[name]).abs().max().item() for name in second) < 1e-10


def work(measured: Measured, name: str) -> float:
    """Seconds of computing in a micro-batch of the first shape."""
    times = measured.type(name).times[0]
    return sum(times.forward) + sum(times.backward) + sum(times.weights)
