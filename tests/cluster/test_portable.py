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


@pytest.fixture(scope="module")
def stopped_at(given: dict[str, str], tmp_path_factory: pytest.TempPathFactory, ray_session: None) -> tuple[Path, int]:  # noqa: ARG001
    """What three stages times two replicas left when they were stopped, and after how many steps."""
    folder = tmp_path_factory.mktemp("first")
    stop = StopRequest()
    stopping = Watcher(after={7: lambda: setattr(stop, "signal", 15)})
    with pytest.raises(Stopped) as stopped:
        run(config(given, plan=SERVED, train=STEPS), folder, stopping, stop)
    return folder, open_checkpoint(stopped.value.checkpoint).step


def test_what_three_stages_times_two_replicas_saved_goes_on_with_one_stage_and_with_four_to_the_same_bits(
    given: dict[str, str], stopped_at: tuple[Path, int], tmp_path: Path
) -> None:
    first, at = stopped_at
    assert 7 <= at < 12
    losses = []
    for stages in (1, 4):
        watcher = run(config(given, resume=first, plan={"stages": stages}, train=STEPS), tmp_path / str(stages))
        assert [numbers.step for numbers in watcher.steps] == list(range(at + 1, 13))
        losses.append([numbers.loss for numbers in watcher.steps])
    assert losses[0] == losses[1]
    assert_bitwise_equal(tmp_path / "1", tmp_path / "4")


def test_a_damaged_checkpoint_is_told_of_and_the_one_before_it_leads_to_the_same_bits(
    given: dict[str, str], stopped_at: tuple[Path, int], tmp_path: Path
) -> None:
    first, at = stopped_at
    # The end of the first epoch, and where it was stopped.
    assert [open_checkpoint(path).step for path in saved(first)] == [6, at]
    run(config(given, resume=saved(first)[0], plan={"stages": 2}, train=STEPS), tmp_path / "one")
    weights = saved(first)[1] / "weights-0.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    watcher = run(config(given, resume=first, plan={"stages": 2}, train=STEPS), tmp_path / "other")
    damaged, goes_on = watcher.notes[:2]
    assert f"The checkpoint {weights.parent} is damaged: weights-0.safetensors" in damaged
    assert damaged.endswith(f"{saved(first)[0]} is used instead.")
    assert goes_on == f"Going on from step 6: {saved(first)[0]}"
    assert watcher.steps[0].step == 7
    assert_bitwise_equal(tmp_path / "one", tmp_path / "other")


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
