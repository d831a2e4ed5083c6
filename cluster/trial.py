"""One trial of a search: the main job in a process of its own, whose actors get their devices of the same cluster."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from ray import tune

from pipelines.report.journal import Follower
from pipelines.search.space import overrides

GLANCE = 0.2
"""Seconds between two looks into the trial's journal."""
GRACE = 60.0
"""Seconds in which a trial that was told to stop saves a checkpoint and ends."""


@dataclass(frozen=True, slots=True)
class Errand:
    """What is the same for all trials."""

    config: dict[str, Any]
    """As `Config.model_dump(mode="json")` has it."""
    folder: Path
    """Of the search: each trial has a folder in it."""
    environment: dict[str, str]
    """Beside that of this process: which cluster to join, and whose child the run is in MLflow."""


class Trial(tune.Trainable):
    """Ray Tune asks it for one score on dev after the other, and ends it when others do better."""

    def setup(self, config: dict[str, Any], errand: Errand | None = None) -> None:
        """Start the run.

        Args:
            config: what the search chose, by key of the run's config.
            errand: always given; Ray Tune wants a default.
        """
        assert errand is not None
        self.run = errand.folder / f"trial-{self.trial_id.rpartition('_')[2]}"
        self.run.mkdir(parents=True)
        settings = {
            **errand.config,
            "run": errand.config["run"] | {"output": str(self.run / "run")},
            "track": errand.config["track"] | {"alias": self.run.name, "system_metrics": False},
            # A run that goes back to its best weights needs these.
            "checkpoint": errand.config["checkpoint"]
            | {"resume": "never", "keep": 1, "keep_best": 0 if errand.config["train"]["patience"] is None else 1},
        }
        path = self.run / "config.yaml"
        path.write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
        self._log = (self.run / "log.txt").open("wb")
        # A group of its own: a Ctrl-C on the terminal is for the search, which then ends its trials.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "jobs.train", str(path), *overrides(config)],
            env=os.environ | errand.environment,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._journal, self._scores = Follower(self.run / "run"), deque[dict[str, Any]]()
        self._last: dict[str, Any] = {}

    def step(self) -> dict[str, Any]:
        """The next score on dev; the last one again, as `done` and `ended`, when the run is over by itself."""
        while not self._scores:
            over = self._process.poll() is not None
            self._scores.extend(
                line for line in self._journal.news() if line["what"] == "scored" and line["split"] == "dev"
            )
            if over and not self._scores:
                if self._process.returncode != 0 or not self._last:
                    raise RuntimeError(self._why())
                return self._last | {"done": True, "ended": True}
            if not self._scores:
                time.sleep(GLANCE)
        line = self._scores.popleft()
        self._last = {"score": line["score"], "score_name": line["name"], "epoch": line["epoch"], "step": line["step"]}
        return dict(self._last)

    def cleanup(self) -> None:
        """End the run, if it still goes on."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(GRACE)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
        self._log.close()

    def _why(self) -> str:
        """The last that it said: an error that is meant for the user is one paragraph."""
        said = (self.run / "log.txt").read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return f"the run ended with {self._process.returncode}: {said[-1] if said else 'it said nothing'}"
