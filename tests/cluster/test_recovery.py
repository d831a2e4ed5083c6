"""Parts of a run are killed or frozen, and it ends as if nothing had happened."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from cluster.driver import Driver
from cluster.waiting import ActorLost
from tests.cluster.faults import Faults, data_shard, process, server, stage
from tests.cluster.test_training import assert_bitwise_equal, config, run
from tests.cluster.watcher import Watcher
from tests.tiny import write_data, write_model

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("ray_session")]
PLAN = {"stages": 2, "cpus_per_stage": 0.25, "timeout": 30}
SERVED = PLAN | {"stages": 1, "replicas": 2, "servers": 2, "cpus_per_server": 0.25, "timeout": 60}


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("given")
    return {"model": str(write_model(folder / "model")), "data": str(write_data(folder / "data"))}


def settings(given: dict[str, str], plan: dict[str, Any], **recovery: Any) -> Any:
    made = config(given, plan=plan, data={"shards": 2})
    return made.model_copy(
        update={"recovery": made.recovery.model_copy(update={"copy_every": 5, "silence": 5} | recovery)}
    )


def test_lost_stages_a_data_shard_and_a_spare_are_replaced_alone_and_the_weights_are_bitwise_those_of_an_untouched_run(
    given: dict[str, str], tmp_path: Path
) -> None:
    run(settings(given, PLAN), tmp_path / "untouched")
    faults = Faults().kill(stage(1), after=4).kill(data_shard(0), after=9).kill_spare(0, after=12)
    watcher = faults.freeze(stage(0), after=14).run(settings(given, PLAN, spares=2), tmp_path / "faults")
    assert [recovery.lost for recovery in watcher.recoveries] == [["stage 1"], ["data shard 0"], ["stage 0"]]
    assert [recovery.by_spares for recovery in watcher.recoveries[1:]] == [[], ["stage 0"]]
    assert all(0 <= recovery.replayed <= 5 + 1 for recovery in watcher.recoveries)
    assert [numbers.step for numbers in watcher.steps] == list(range(1, 21))
    assert_bitwise_equal(tmp_path / "untouched", tmp_path / "faults")


def test_a_lost_server_and_a_stage_of_another_replica_are_replaced_and_the_weights_are_bitwise_the_same(
    given: dict[str, str], tmp_path: Path
) -> None:
    run(settings(given, SERVED), tmp_path / "untouched")
    faults = Faults().kill(server(1), after=6).kill(stage(0, replica=1), after=13)
    watcher = faults.run(settings(given, SERVED), tmp_path / "faults")
    lost = [recovery.lost for recovery in watcher.recoveries]
    assert lost == [["parameter server 1"], ["stage 0 of replica 1"]]
    assert watcher.recoveries[1].by_spares == ["stage 0 of replica 1"]
    assert [numbers.step for numbers in watcher.steps] == list(range(1, 21))
    assert_bitwise_equal(tmp_path / "untouched", tmp_path / "faults")


class Ambushed(Driver):
    """Loses a data shard before anything is read, and a stage before anything is built."""

    def _open(self, again: bool) -> None:
        if not again:
            os.kill(process(data_shard(1)(self)), signal.SIGKILL)
        super()._open(again)

    def _set_out(self, again: bool) -> None:
        if not again:
            os.kill(process(stage(1)(self)), signal.SIGKILL)
        super()._set_out(again)


def test_what_is_lost_before_the_first_step_is_begun_again(given: dict[str, str], tmp_path: Path) -> None:
    run(settings(given, PLAN), tmp_path / "untouched")
    watcher = Watcher()
    run(settings(given, PLAN), tmp_path / "ambushed", watcher, kind=Ambushed)
    begun_again = [
        note for note in watcher.notes if note.endswith("That was before the first step; it is begun again.")
    ]
    assert [note.partition(" died")[0] for note in begun_again] == ["data shard 1", "stage 1"], watcher.notes
    assert [numbers.step for numbers in watcher.steps] == list(range(1, 21))
    assert_bitwise_equal(tmp_path / "untouched", tmp_path / "ambushed")


def test_without_tries_a_loss_before_the_first_step_ends_the_run(given: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(
        ActorLost, match=r"data shard 1 died .* That was loss 1 before the first step \(recovery.tries\)"
    ):
        run(settings(given, PLAN, tries=0), tmp_path, kind=Ambushed)
