"""Two replicas, one of them several times slower: loss over time in sync, within a bound, and async.

python -m tests.bench.sharing [--data FOLDER] [--slowdown 3] [--steps 80] [--rounds 3]
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from statistics import fmean
from typing import Any

import ray
from matplotlib.figure import Figure
from ray.cluster_utils import Cluster

from cluster.driver import Driver, StopRequest
from pipelines.config import Config
from pipelines.report.observer import Beginning, StepNumbers
from tests.bench.inputs import MINILM
from tests.bench.tables import BENCHMARKS, ROOT, command, machine, replace_section, shown, spread, table

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
        whole = list(zip(seconds, losses, strict=True))[WINDOW:]
        return next((second for second, found in whole if found <= loss), None)

    @property
    def slow(self) -> int:
        """The replica on the slow node."""
        assert self.beginning is not None
        return next(s["replica"] for s in self.beginning.plan["stages"] if "slowed" in s["assigned"])


SYNC = "sync, equal waves"
BY_SPEED = "sync, waves by speed"
MODES: dict[str, dict[str, Any]] = {
    SYNC: {"sharing": "sync"},
    BY_SPEED: {"sharing": "sync"},
    "bounded by 1": {"sharing": "bounded", "staleness": 1},
    "bounded by 2": {"sharing": "bounded", "staleness": 2},
    "async": {"sharing": "async"},
}
"""What is compared: a part of the plan for each name."""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT / ".data" / "addresses", help="a folder with train.conll")
    parser.add_argument("--model", default=MINILM)
    parser.add_argument("--slowdown", type=int, default=3)
    parser.add_argument("--steps", type=int, default=80)
    parser.add_argument("--batch", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--docs", type=Path, default=BENCHMARKS)
    parser.add_argument("--picture", type=Path, default=PICTURE)
    parser.add_argument("--section", default="sharing", help="the marked section of the docs to write")
    return parser.parse_args()


@contextmanager
def uneven_cluster(slowdown: int) -> Iterator[None]:
    """Two nodes of which each has room for one stage, the second one slowed."""
    os.environ.update({"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"})
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    cluster.add_node(num_cpus=2, labels={"motley.slowdown": str(slowdown)})
    ray.init(address=cluster.address, log_to_driver=False)
    try:
        yield
    finally:
        ray.shutdown()
        cluster.shutdown()


def run(given: argparse.Namespace, plan: dict[str, Any]) -> Watcher:
    config = Config.model_validate(
        {
            "model": given.model,
            "data": {"train": str(given.data / "train.conll")},
            "train": {
                "batch_size": given.batch, "micro_batches": given.slowdown + 1, "epochs": 1000,
                "max_steps": given.steps, "learning_rate": 1e-4,
            },
            # More than half of a node, and one thread.
            "plan": {"stages": 1, "replicas": 2, "servers": 1, "cpus_per_stage": 1.5, "cpus_per_server": 0.5} | plan,
        }
    )  # fmt: skip
    watcher = Watcher()
    with tempfile.TemporaryDirectory() as folder:
        driver = Driver(config, Path(folder), watcher, may_grow=False, stop=StopRequest())
        try:
            driver.run()
        finally:
            driver.close()
    return watcher


def measure(given: argparse.Namespace) -> dict[str, list[Watcher]]:
    """Every mode in every round, each round in the same order."""
    found: dict[str, list[Watcher]] = {name: [] for name in MODES}
    slow = 1
    for _ in range(given.rounds):
        for name, plan in MODES.items():
            by_speed = [1 if r == slow else given.slowdown for r in range(2)]
            watcher = run(given, plan | ({"shares": by_speed} if name == BY_SPEED else {}))
            if name == BY_SPEED and watcher.slow != slow:
                watcher = run(given, plan | {"shares": by_speed[::-1]})
            slow = watcher.slow
            found[name].append(watcher)
            seconds, losses = watcher.curve
            print(f"{name}: {seconds[-1]:.1f} s, loss {losses[-1]:.4f}, replica {slow} is slow", flush=True)
    return found


def draw(path: Path, found: dict[str, list[Watcher]], title: str) -> None:
    """The loss over time: each mode's rounds in its colour."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for k, (name, watchers) in enumerate(found.items()):
        for round_, watcher in enumerate(watchers):
            seconds, losses = watcher.curve
            axes.plot(seconds, losses, color=f"C{k}", linewidth=1.2, label=name if round_ == 0 else None)
    axes.set_xlabel("seconds")
    axes.set_ylabel(f"training loss, mean of the last {WINDOW} steps")
    axes.set_yscale("log")
    axes.set_title(title, loc="left")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=80)


def rows(found: dict[str, list[Watcher]]) -> list[list[str]]:
    """For each mode its times, by the loss that in a round every mode reached."""
    lines = []
    rounds = list(zip(*found.values(), strict=True))
    targets = [max(watcher.curve[1][-1] for watcher in watchers) for watchers in rounds]
    for name, watchers in found.items():
        reached = [w.reached(target) or w.curve[0][-1] for w, target in zip(watchers, targets, strict=True)]
        plain = [w.reached(target) or w.curve[0][-1] for w, target in zip(found[SYNC], targets, strict=True)]
        gains = [before / after for before, after in zip(plain, reached, strict=True)]
        steps = [1000 * fmean(n.seconds for n in w.steps[WARM_UP:]) for w in watchers]
        stale = [fmean(s for n in w.steps for s in n.staleness) for w in watchers]
        slow = [sum(n.waves[w.slow] for n in w.steps) / sum(sum(n.waves) for n in w.steps) for w in watchers]
        lines.append(
            [
                name, spread(steps), spread([w.curve[0][-1] for w in watchers], 1),
                spread([w.curve[1][-1] for w in watchers], 4), spread(reached, 1), spread(gains, 2), spread(stale, 2),
                spread([100 * share for share in slow]),
            ]
        )  # fmt: skip
    return lines


def main() -> None:
    given = arguments()
    with uneven_cluster(given.slowdown):
        found = measure(given)
    title = f"Two replicas, one {given.slowdown} times slower"
    draw(given.picture, found, title)
    head = [
        "sharing", "step, ms", "all steps, s", "last loss", "to the same loss, s", "times faster than sync",
        "mean staleness", "waves of the slow one, %",
    ]  # fmt: skip
    body = f"""## {title}: loss over time, on {given.data.resolve().name}

`{command(__file__)}`

{machine()}.
Model {shown(given.model)}, float32, {given.steps} steps of {given.batch} examples in {given.slowdown + 1}
micro-batches, one stage a replica with one thread, one parameter server; the replicas sit on two Ray nodes, and what
the slow one computes takes it {given.slowdown} times as long. The same loss is the highest of the round's last ones,
each the mean of {WINDOW} steps; the first {WARM_UP} steps' time is left out. Medians (extremes) of {given.rounds}
rounds.

![Loss over time](pictures/{given.picture.name})

{table(head, rows(found))}
"""
    print(body)
    replace_section(given.docs, given.section, body)


if __name__ == "__main__":
    main()
