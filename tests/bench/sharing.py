"""Two replicas, one of them several times slower: loss over time in sync, within a bound, and async.

python -m tests.bench.sharing [--data FOLDER] [--slowdown 3] [--steps 60] [--rounds 3]
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from statistics import fmean
from typing import Any

import ray
from ray.cluster_utils import Cluster

from pipelines.report.observer import Beginning, StepNumbers
from tests.bench.tables import ROOT

PICTURE = ROOT / "docs" / "pictures" / "sharing.png"
WINDOW = 9
"""Steps over which the loss is smoothed."""
WARM_UP = 2
"""First steps that the clock leaves out: caches and allocators fill."""


@dataclass
class Watcher:
    """Keeps what the driver tells."""

    beginning: Beginning | None = None
    steps: list[StepNumbers] = field(default_factory=list)

    def begin(self, beginning: Beginning) -> None:
        self.beginning = beginning

    def step(self, numbers: StepNumbers) -> None:
        self.steps.append(numbers)

    def scored(self, split: str, *, epoch: int, step: int, report: Any) -> None: ...

    def saved(self, checkpoint: Path) -> None: ...

    @property
    def curve(self) -> tuple[list[float], list[float]]:
        """Seconds, and the loss smoothed over the steps up to then."""
        losses = [numbers.loss for numbers in self.steps]
        seconds = accumulate(n.seconds if k >= WARM_UP else 0.0 for k, n in enumerate(self.steps))
        return list(seconds), [fmean(losses[max(0, k - WINDOW + 1) : k + 1]) for k in range(len(losses))]

    def reached(self, loss: float) -> float | None:
        """After how many seconds the smoothed loss was as low for the first time."""
        seconds, losses = self.curve
        return next(
            (s for k, (s, found) in enumerate(zip(seconds, losses, strict=True)) if k >= WINDOW and found <= loss), None
        )

    @property
    def slow(self) -> int:
        """The replica on the slow node."""
        assert self.beginning is not None
        return next(s["replica"] for s in self.beginning.plan["stages"] if "slowed" in s["assigned"])


def modes(slowdown: float) -> dict[str, dict[str, Any]]:
    """What is compared: a plan for each name."""
    return {
        "sync, equal waves": {"sharing": "sync"},
        "sync, waves by speed": {"sharing": "sync", "shares": "by speed"},
        "bounded, D = 1": {"sharing": "bounded", "staleness": 1},
        "bounded, D = 2": {"sharing": "bounded", "staleness": 2},
        "async": {"sharing": "async"},
    }


@contextmanager
def uneven_cluster(slowdown: float) -> Iterator[None]:
    """A node for one stage and the servers, and a slowed one for another stage."""
    os.environ.update({"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"})
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    cluster.add_node(num_cpus=1, labels={"motley.slowdown": f"{slowdown:g}"})
    ray.init(address=cluster.address, log_to_driver=False)
    try:
        yield
    finally:
        ray.shutdown()
        cluster.shutdown()
