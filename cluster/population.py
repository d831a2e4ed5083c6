"""Population based training (Jaderberg et al. 2017): runs that train side by side and take over from better ones.

    trial 0   leg 0 ──▶ 0.71 ──▶ leg 1 ──▶ ...
    trial 1   leg 0 ──▶ 0.40 ─┤  leg 1 ──▶ ...     from the weights of trial 0, with other settings near to its own
                        └─ all are compared when the last one has come here

A leg is a run of the main job that stops with a checkpoint. The next one, of the same trial or of one that does worse,
goes on from that checkpoint in a process and a folder of its own.
"""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from ray import tune
from ray.tune.schedulers import PopulationBasedTraining

from cluster.child import Child, Errand
from cluster.domains import domain
from cluster.trial import trial_name
from cluster.turns import turn
from pipelines.search.space import Choice, Range, Space, held_within
from pipelines.train.checkpoint import CHECKPOINTS, saved

POINTER = "leg.json"


class Member(tune.Trainable):
    """One trial of a population; each of its steps is a leg."""

    def setup(self, config: dict[str, Any], errand: Errand | None = None, every: int = 1, at_once: int = 1) -> None:
        """Ray Tune makes a new one for each leg, and then tells it from where to go on.

        Args:
            config: the settings of this leg, by key of the run's config.
            errand: always given; Ray Tune wants a default.
            every: epochs of a leg.
            at_once: members that train at the same time.
        """
        assert errand is not None
        self._errand, self._every, self._at_once, self._chosen = errand, every, at_once, config
        self._name = trial_name(self.trial_id)
        self._from: dict[str, Any] | None = None
        self._child: Child | None = None
        self._leg = 0

    def step(self) -> dict[str, Any]:
        """Train for a leg: its last score on dev, as `done` if it was the last one."""
        with turn(self._errand.folder, self._at_once):
            self._child = child = self._begin()
            last, found = None, child.score()
            while found is not None:
                last, found = found, child.score()
        if last is None:
            raise RuntimeError("the run ended without a score on dev")
        self._last = last
        taken = {} if self._from is None else {"taken_from": self._from["trial"], "taken_at": self._from["step"]}
        return last | taken | ({"done": True, "folder": str(child.run)} if child.is_whole else {})

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Say where the run's own checkpoint is.

        Ray Tune copies what is in a checkpoint of its own to each place that it may be needed, several times. The run
        has written weights and moments already, where every other run can read them: a pointer is enough.
        """
        assert self._child is not None
        checkpoint = saved(self._child.run)[-1]
        told = {"trial": self._name, "leg": self._leg, "step": self._last["step"], "checkpoint": str(checkpoint)}
        (Path(checkpoint_dir) / POINTER).write_text(json.dumps(told), encoding="utf-8")

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Go on from there in the next leg.

        Args:
            checkpoint: a folder that `save_checkpoint` wrote to, of this trial or of another.
        """
        self._from = dict(json.loads((Path(checkpoint) / POINTER).read_text(encoding="utf-8")))
        self._leg = self._from["leg"] + 1

    def cleanup(self) -> None:
        """End the run, if it still goes on."""
        if self._child is not None:
            self._child.end()

    def _begin(self) -> Child:
        own = self._errand.folder / self._name
        if self._leg > 1:
            # All have done the leg before this one, so that nobody needs what it began from.
            shutil.rmtree(own / f"leg-{self._leg - 2}" / "run" / CHECKPOINTS, ignore_errors=True)
        end = (self._leg + 1) * self._every
        since = {"resume": "never"} if self._from is None else {"resume": self._from["checkpoint"]}
        tags = {"motley.trial": self._name, "motley.leg": str(self._leg)}
        if self._from is not None:
            tags |= {"motley.taken_from": self._from["trial"], "motley.taken_at_step": str(self._from["step"])}
        return Child(
            self._errand,
            own / f"leg-{self._leg}",
            self._chosen,
            alias=self._name,
            checkpoint={
                **since,
                "changes": [] if self._from is None else sorted(self._chosen),
                "stop_after": end if end < self._errand.config["train"]["epochs"] else None,
                "keep": 1,
                "keep_best": 0,
            },
            tags=tags,
        )


class Population(PopulationBasedTraining):
    """Compares all members when the last one has done its leg: those of the worst quarter go on from the best ones.

    Members that wait for their turn would be behind in a comparison at each one's own time.
    """

    def __init__(self, space: Space, every: int, seed: int) -> None:
        """`every`: epochs of a leg."""
        # It draws from the generators of the process.
        random.seed(seed)
        np.random.seed(seed)
        super().__init__(
            time_attr="epoch",
            perturbation_interval=every,
            hyperparam_mutations={key: _mutation(one) for key, one in space.items()},
            # 1.2 or 0.8 times a value may lie outside of what is searched.
            custom_explore_fn=lambda chosen: held_within(space, chosen),
            log_config=False,
            synch=True,
        )

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Go on without the one that failed; by itself Ray Tune waits for it when it is the last one of a leg."""
        others = [one for one in tune_controller.get_live_trials() if one is not trial]
        if others and all(self._trial_state[one].last_train_time >= self._next_perturbation_sync for one in others):
            self._next_perturbation_sync += self._perturbation_interval
        super().on_trial_error(tune_controller, trial)


def _mutation(one: Choice | Range) -> Any:
    """A value of a choice is taken to one beside it, which Ray Tune does for a list alone."""
    return list(one.values) if isinstance(one, Choice) else domain(one)
