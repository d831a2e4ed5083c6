"""A checkpoint is of no plan: saved with replicas, servers and stages, it goes on with any others."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.driver import Stopped, StopRequest
from pipelines.train.checkpoint import open_checkpoint, saved
from tests.cluster.test_training import assert_bitwise_equal, config, run
from tests.cluster.watcher import Watcher
from tests.tiny import write_data, write_model

pytestmark = [pytest.mark.timeout(240), pytest.mark.usefixtures("ray_session")]

SERVED = {"stages": 3, "replicas": 2, "servers": 1, "cpus_per_stage": 0.2, "cpus_per_server": 0.2}
STEPS = {"micro_batches": 4, "max_steps": 12, "epochs": 2}


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("given")
    return {"model": str(write_model(folder / "model")), "data": str(write_data(folder / "data"))}


def test_what_three_stages_times_two_replicas_saved_goes_on_with_one_stage_and_with_four_to_the_same_bits(
    given: dict[str, str], tmp_path: Path
) -> None:
    first, stop = tmp_path / "first", StopRequest()
    stopping = Watcher(after={9: lambda: setattr(stop, "signal", 15)})
    with pytest.raises(Stopped) as stopped:
        run(config(given, plan=SERVED, train=STEPS, checkpoint={"every_steps": 4, "keep": 2}), first, stopping, stop)
    at = open_checkpoint(stopped.value.checkpoint).step
    assert 9 <= at < 12
    # In the middle of the second epoch, and where it was stopped.
    before, newest = saved(first)[-2:]
    assert [open_checkpoint(path).step for path in (before, newest)] == [8, at]
    one = run(config(given, resume=before, plan={"stages": 1}, train=STEPS), tmp_path / "1")

    # The newest is damaged: it is told of, and the one before it leads to the same bits.
    weights = newest / "weights-0.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    four = run(config(given, resume=first, plan={"stages": 4}, train=STEPS), tmp_path / "4")
    damaged, goes_on = four.notes[:2]
    assert f"The checkpoint {newest} is damaged: weights-0.safetensors" in damaged
    assert damaged.endswith(f"{before} is used instead.")
    assert goes_on == f"Going on from step 8: {before}"

    for watcher in (one, four):
        assert [numbers.step for numbers in watcher.steps] == [9, 10, 11, 12]
    assert [numbers.loss for numbers in one.steps] == [numbers.loss for numbers in four.steps]
    assert_bitwise_equal(tmp_path / "1", tmp_path / "4")


def test_the_best_on_dev_stays_beside_the_newest(given: dict[str, str], tmp_path: Path) -> None:
    settings = config(
        given, plan={"stages": 1}, train={"max_steps": 24}, checkpoint={"keep": 1, "keep_best": 1, "every_steps": 4}
    )
    watcher = run(settings, tmp_path)
    scores = {step: report.micro.f1 for _, step, report in watcher.reports["dev"]}
    best = min(scores, key=lambda step: (-scores[step], step))
    assert [open_checkpoint(path).step for path in saved(tmp_path)] == sorted({best, 24})
    found = {open_checkpoint(path).step: open_checkpoint(path).index.score for path in saved(tmp_path)}
    assert found == {step: scores[step] for step in found}
