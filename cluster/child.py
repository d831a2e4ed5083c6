"""The main job as a process of its own, whose actors get their devices of the same cluster."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pipelines.report.journal import Follower
from pipelines.search.space import overrides

GLANCE = 0.2
"""Seconds between two looks into the run's journal."""
GRACE = 60.0
"""Seconds in which a run that was told to stop saves a checkpoint and ends."""
STOPPED = 128 + signal.SIGTERM
"""How jobs.train ends after SIGTERM, and after `checkpoint.stop_after`."""


@dataclass(frozen=True, slots=True)
class Errand:
    """What is the same for all trials of a search."""

    config: dict[str, Any]
    """As `Config.model_dump(mode="json")` has it."""
    folder: Path
    """Of the search: each trial has a folder in it."""
    environment: dict[str, str]
    """Beside that of this process: which cluster to join."""
    tags: dict[str, str]
    """In MLflow: whose child the run is."""


class Child:
    """A run, from its start to its end.

    FOLDER/config.yaml    what it was started with
    FOLDER/log.txt        what it said
    FOLDER/run/           its own folder
    """

    def __init__(
        self,
        errand: Errand,
        folder: Path,
        chosen: Mapping[str, Any],
        *,
        alias: str,
        checkpoint: Mapping[str, Any],
        tags: Mapping[str, str],
    ) -> None:
        """Start it.

        Args:
            folder: must not be there.
            chosen: settings by key, which go before the errand's.
            alias: of the registered model's version.
            checkpoint: settings of that section.
            tags: in MLflow, beside the errand's.
        """
        self.folder = folder
        folder.mkdir(parents=True)
        settings = {
            **errand.config,
            "run": errand.config["run"] | {"output": str(self.run)},
            "track": errand.config["track"] | {"alias": alias, "system_metrics": False},
            "checkpoint": errand.config["checkpoint"] | checkpoint,
        }
        path = folder / "config.yaml"
        path.write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
        self._log = (folder / "log.txt").open("wb")
        # A group of its own: a Ctrl-C on the terminal is for the search, which then ends its trials.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "jobs.train", str(path), *overrides(chosen)],
            env=os.environ | errand.environment | {"MLFLOW_RUN_CONTEXT": json.dumps({**errand.tags, **tags})},
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._journal, self._scores = Follower(self.run), deque[dict[str, Any]]()

    @property
    def run(self) -> Path:
        """The run's folder."""
        return self.folder / "run"

    def score(self) -> dict[str, Any] | None:
        """The next score on dev, with its epoch and step; None when the run is over and there is none left.

        Raises:
            RuntimeError: the run failed; says what it said last.
        """
        while not self._scores:
            over = self._process.poll()
            self._scores.extend(
                line for line in self._journal.news() if line["what"] == "scored" and line["split"] == "dev"
            )
            if over is not None and not self._scores:
                if over not in (0, STOPPED):
                    raise RuntimeError(self._why())
                return None
            if not self._scores:
                time.sleep(GLANCE)
        line = self._scores.popleft()
        return {"score": line["score"], "score_name": line["name"], "epoch": line["epoch"], "step": line["step"]}

    @property
    def is_whole(self) -> bool:
        """Whether it is over, and came to its end."""
        return self._process.poll() == 0

    def end(self) -> None:
        """End it, if it still goes on."""
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
        said = (self.folder / "log.txt").read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return f"the run ended with {self._process.returncode}: {said[-1] if said else 'it said nothing'}"
