"""Who may run, and what becomes of the others when one fails, without any cluster."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from cluster.population import Population
from cluster.turns import turn
from pipelines.search.space import parse_space


@dataclass(eq=False)
class FakeTrial:
    """What the scheduler asks of a trial. A real one needs an experiment's folder and a trainable."""

    config: dict[str, float] = field(default_factory=lambda: {"train.learning_rate": 1e-4})
    evaluated_params: dict[str, float] = field(default_factory=dict)
    status: str = "RUNNING"

    def is_finished(self) -> bool:
        return self.status in ("ERROR", "TERMINATED")


class FakeController:
    """Of Ray Tune's controller the list of trials."""

    def __init__(self, trials: list[FakeTrial]) -> None:
        self.trials = trials

    def get_trials(self) -> list[FakeTrial]:
        return self.trials

    def get_live_trials(self) -> list[FakeTrial]:
        return [trial for trial in self.trials if not trial.is_finished()]


def population(trials: list[FakeTrial]) -> Population:
    found = Population(parse_space(["train.learning_rate=1e-5..1e-3"]), 1, seed=0)
    for trial in trials:
        found._trial_state[trial] = State()
    return found


@dataclass
class State:
    """Of Ray Tune's record of a member how far it is."""

    last_train_time: float = 0


def test_the_others_go_on_when_the_last_one_of_a_leg_fails() -> None:
    trials = [FakeTrial(status="PAUSED"), FakeTrial(status="PAUSED"), FakeTrial()]
    controller, scheduler = FakeController(trials), population(trials)
    for trial in trials[:2]:
        scheduler._trial_state[trial].last_train_time = 1
    assert scheduler.choose_trial_to_run(controller) is None
    scheduler.on_trial_error(controller, trials[2])
    trials[2].status = "ERROR"
    assert scheduler.choose_trial_to_run(controller) is trials[0]


def test_others_are_waited_for_when_one_fails_that_is_not_the_last() -> None:
    trials = [FakeTrial(status="PAUSED"), FakeTrial(), FakeTrial()]
    controller, scheduler = FakeController(trials), population(trials)
    scheduler._trial_state[trials[0]].last_train_time = 1
    scheduler.on_trial_error(controller, trials[2])
    assert scheduler.choose_trial_to_run(controller) is None


def test_no_more_have_their_turn_than_may(tmp_path: Path) -> None:
    now, most, lock = 0, 0, threading.Lock()

    def work() -> None:
        nonlocal now, most
        with turn(tmp_path, 2):
            with lock:
                now += 1
                most = max(most, now)
            time.sleep(0.1)
            with lock:
                now -= 1

    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert (now, most) == (0, 2)
