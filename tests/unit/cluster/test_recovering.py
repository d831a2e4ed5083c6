"""When a part of a run is tried again, from where, and when it is given up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cluster.fleet import Rejoined
from cluster.nodes import NodesLost
from cluster.recovering import Recovering
from cluster.roll_call import Lost
from cluster.waiting import ActorLost
from pipelines.errors import UserError
from pipelines.recovery_settings import RecoveryConfig
from tests.cluster.watcher import Watcher


class Fleet:
    """Knows only how many steps its weights have had. Fails as often as it is told, when it rejoins."""

    nodes: frozenset[str] = frozenset()

    def __init__(self, *failures: Exception) -> None:
        self.version, self._failures = 0, list(failures)
        self.copied = 0

    def replace_lost(self, seconds: float) -> list[Lost]:
        assert seconds == 30
        return [Lost(f"stage {len(self._failures) + 1}", by_spare=not self._failures)]

    def rejoin(self, start: Any) -> Rejoined:
        assert start == "on disk"
        if self._failures:
            raise self._failures.pop(0)
        self.version = self.copied
        return Rejoined(self.version, {"started": 0.5})

    def run(self, works: Iterator[int]) -> Iterator[int]:
        for work in works:
            assert work == self.version
            self.version += 1
            yield self.version


class Data:
    def replace_lost(self, seconds: float) -> list[Lost]:
        assert seconds == 30
        return []


class Run:
    """A run whose steps are numbers."""

    def __init__(self, fleet: Fleet, *, check: Callable[[], None] = lambda: None, **settings: Any) -> None:
        self.fleet, self.watcher, self.done = fleet, Watcher(), 0
        self.recovering = Recovering(
            fleet,  # type: ignore[arg-type]
            Data(),  # type: ignore[arg-type]
            RecoveryConfig(**settings),
            self.watcher,
            start=lambda: "on disk",  # type: ignore[arg-type,return-value]
            works=lambda first, end: iter(range(first, end)),  # type: ignore[arg-type,return-value]
            done=lambda: self.done,
            check=check,
        )

    def steps(self, end: int, *losses: tuple[int, Exception]) -> None:
        """Run to step `end`; at each of `losses` there is one."""
        left = list(losses)

        def part() -> None:
            for step in self.fleet.run(iter(range(self.done, end))):  # type: ignore[arg-type]
                if left and left[0][0] == step:
                    raise left.pop(0)[1]
                self.done = step

        self.recovering.run(part)


def test_steps_since_the_copy_are_run_again_and_the_part_goes_on() -> None:
    run = Run(fleet := Fleet())
    fleet.copied = 3
    run.steps(8, (6, ActorLost("stage 1 died.")))
    assert (run.done, fleet.version) == (8, 8)
    (recovery,) = run.watcher.recoveries
    assert (recovery.lost, recovery.back_to, recovery.step, recovery.replayed) == (["stage 1"], 3, 5, 2)
    assert list(recovery.seconds) == ["found", "started", "replayed"]
    assert str(recovery).startswith("stage 1 died. Replaced: stage 1 by a spare; 2 steps run again; ")


def test_a_loss_in_the_middle_of_a_recovery_begins_it_again() -> None:
    run = Run(Fleet(ActorLost("another died."), TimeoutError("a third hangs.")))
    run.steps(2, (1, ActorLost("the first died.")))
    assert run.done == 2
    (recovery,) = run.watcher.recoveries
    assert (recovery.why, recovery.lost) == ("the first died.", ["stage 3", "stage 2", "stage 1"])
    assert recovery.by_spares == ["stage 1"]


def test_losses_in_a_row_with_no_step_between_them_end_the_run() -> None:
    run = Run(Fleet(), tries=2)
    with pytest.raises(ActorLost, match=r"^3\. That was loss 3 in a row, with no step between them \(recovery.tries\)"):
        run.steps(9, (4, ActorLost("1.")), (4, TimeoutError("2.")), (4, ActorLost("3.")))
    assert (run.done, len(run.watcher.recoveries)) == (3, 2)


def test_a_step_between_losses_makes_the_count_begin_again() -> None:
    run = Run(Fleet(), tries=1)
    run.steps(9, (4, ActorLost("1.")), (6, ActorLost("2.")), (7, ActorLost("3.")))
    assert (run.done, len(run.watcher.recoveries)) == (9, 3)


@pytest.mark.parametrize("error", [UserError("a wrong value"), FloatingPointError("nan"), RuntimeError("a bug")])
def test_what_another_try_would_not_mend_ends_the_run_at_once(error: Exception) -> None:
    run = Run(Fleet())
    with pytest.raises(type(error), match=str(error)):
        run.steps(9, (4, error))
    assert run.watcher.recoveries == []


def test_a_loss_of_nodes_that_the_plan_needs_is_told_before_anybody_is_replaced() -> None:
    run = Run(Fleet(AssertionError("nobody can be replaced")), check=lost_nodes)
    with pytest.raises(NodesLost, match=r"^node 1f0c22aa is gone$"):
        run.steps(9, (4, ActorLost("stage 1 died.")))
    assert (run.done, run.watcher.recoveries) == (3, [])


def lost_nodes() -> None:
    raise NodesLost(["1f0c22aa" + 48 * "0"])
