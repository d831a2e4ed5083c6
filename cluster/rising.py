"""Run the main job with a learning rate that rises, in a process of its own, and see what the loss does."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import yaml

from pipelines.config import Config
from pipelines.errors import UserError
from pipelines.report.journal import Follower, read_journal
from pipelines.search.rates import FEWEST, RangeTest, range_test
from pipelines.train.optimizers import learning_rate

GLANCE = 0.2
"""Seconds between two looks at how far the run is."""
GRACE = 60.0
"""Seconds in which it ends when it has done its steps."""


def find_rate(config: Config, *, most: float, steps: int, tell: Callable[[str], None]) -> RangeTest:
    """Train `steps` steps, from a hundred-thousandth of the rate `most` up to it; nothing of the run is kept.

    Raises:
        UserError: the run ended too early, or its loss says nothing.
    """
    with tempfile.TemporaryDirectory(prefix="motley-rates-") as name:
        scratch = Path(name)
        settings = config.model_dump(mode="json")
        # One step more, so that it is still training, and scores nothing, when it is told to end.
        settings["train"] |= {
            "learning_rate": most, "decay": "rising", "warmup": 0.0, "max_steps": steps + 1, "epochs": 10**6,
            "patience": None,
        }  # fmt: skip
        settings["run"] |= {"output": str(scratch / "run")}
        settings["track"] |= {"uri": f"sqlite:///{scratch}/mlflow.db", "system_metrics": False}
        settings["checkpoint"] |= {"resume": "never", "every_steps": None, "copy_to": None}
        path = scratch / "rates.yaml"
        path.write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
        said = _run(path, scratch, steps, tell)
        losses = [line["loss"] for line in read_journal(scratch / "run") if line["what"] == "step"][:steps]
    if len(losses) < FEWEST:
        raise UserError(f"The run ended after {len(losses)} steps, and {FEWEST} are needed. It said: {said}")
    trained = config.train.model_copy(update={"learning_rate": most, "decay": "rising", "warmup": 0.0})
    rates = [learning_rate(step, steps + 1, trained) for step in range(len(losses))]
    return range_test(rates, [float("nan") if loss is None else loss for loss in losses])


def _run(config: Path, scratch: Path, steps: int, tell: Callable[[str], None]) -> str:
    """Until it has done so many steps, or ends; the last that it said."""
    log = scratch / "log.txt"
    follower, told = Follower(scratch / "run"), 0
    with log.open("wb") as out:
        process = subprocess.Popen([sys.executable, "-m", "jobs.train", str(config)], stdout=out, stderr=out)
        try:
            while process.poll() is None and (done := follower.step()) < steps:
                if done >= told + 10:
                    told = done
                    tell(f"step {done}/{steps}")
                time.sleep(GLANCE)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(GRACE)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "nothing"
