"""Adversarial training on real actors: equal wherever the table lies, and whoever is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster.faults import Faults, stage
from tests.cluster.test_training import assert_bitwise_equal, config, run
from tests.tiny import write_data, write_model

pytestmark = [pytest.mark.timeout(180), pytest.mark.usefixtures("ray_session")]

MOVED = {"max_steps": 12, "adversarial": {"epsilon": 0.5}}


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("given")
    return {"model": str(write_model(folder / "model")), "data": str(write_data(folder / "data"))}


def test_lost_stages_are_replaced_and_the_weights_are_bitwise_those_of_an_untouched_uncut_run(
    given: dict[str, str],
    tmp_path: Path,
) -> None:
    whole = run(config(given, train=MOVED, plan={"stages": 1}), tmp_path / "whole")
    cut = config(given, train=MOVED, plan={"stages": 2, "schedule": "zero-bubble"}, data={"shards": 2})
    recovery = cut.recovery.model_copy(update={"copy_every": 5, "silence": 5})
    faults = Faults().kill(stage(0), after=3).kill(stage(1), after=8)
    watcher = faults.run(cut.model_copy(update={"recovery": recovery}), tmp_path / "faults")
    assert [recovered.lost for recovered in watcher.recoveries] == [["stage 0"], ["stage 1"]]
    assert [numbers.loss for numbers in watcher.steps] == [numbers.loss for numbers in whole.steps]
    found = [numbers.adversarial_loss for numbers in watcher.steps]
    assert found == [numbers.adversarial_loss for numbers in whole.steps]
    assert all(moved is not None for moved in found)
    assert_bitwise_equal(tmp_path / "whole", tmp_path / "faults")
    # The second round is part of the step's schedule, and of what it would take at best.
    events = watcher.steps[-1].reports[0].events
    forwards = [event.micro_batch for event in events if event.kind == "forward"]
    assert forwards == list(range(len(forwards)))
    assert len(forwards) == 2 * 4
    assert all(0 < numbers.ideal_seconds <= numbers.seconds for numbers in watcher.steps)
