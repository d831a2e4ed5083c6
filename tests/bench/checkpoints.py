"""How long training waits for checkpoints: the same steps without any, and with one every few steps.

python -m tests.bench.checkpoints [--data FOLDER] [--model MODEL] [--steps 40] [--every 10] [--rounds 5]

Time is counted from the end of the fifth step to the end of the last one, so that whatever a checkpoint costs is in
it: the pause in which stages copy what they own, the empty pipeline before and after it, and steps that are slower
while the copy is written. The two take turns.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from statistics import median

import ray

from cluster.driver import Driver, StopRequest
from pipelines.config import Config
from pipelines.train.checkpoint import step_of
from tests.bench.inputs import MINILM
from tests.bench.tables import BENCHMARKS, ROOT, command, machine, replace_section, shown, spread, table
from tests.cluster.watcher import Watcher

WARM_UP = 5
"""First steps that are left out: caches and allocators fill."""


class Measured(Watcher):
    """Keeps when each step ended, and how long each checkpoint was waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.ended: list[float] = []
        self.waited: dict[int, float] = {}
        """By the step that the checkpoint is of."""

    def saved(self, checkpoint: Path, waited: float | None) -> None:
        super().saved(checkpoint, waited)
        assert waited is not None
        self.waited[step_of(checkpoint)] = waited

    @property
    def pauses(self) -> list[float]:
        """Those between two steps that are counted."""
        return [waited for step, waited in self.waited.items() if WARM_UP <= step < len(self.ended)]

    @property
    def seconds(self) -> float:
        """Of a step, in the mean, pauses included."""
        return (self.ended[-1] - self.ended[WARM_UP - 1]) / (len(self.ended) - WARM_UP)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT / ".data" / "addresses", help="a folder with train.conll")
    parser.add_argument("--model", default=MINILM)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--every", type=int, default=10, help="steps from one checkpoint to the next")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--docs", type=Path, default=BENCHMARKS)
    parser.add_argument("--section", default="checkpoints", help="the marked section of the docs to write")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    without: list[Measured] = []
    with_some: list[Measured] = []
    with tempfile.TemporaryDirectory(prefix="motley-checkpoints-") as folder:
        os.environ.update(RAY_AUTH_MODE="disabled", RAY_USAGE_STATS_ENABLED="0", TOKENIZERS_PARALLELISM="false")
        ray.init(num_cpus=2, log_to_driver=False, include_dashboard=False)
        for turn in range(given.rounds):
            for every, done in ((given.steps, without), (given.every, with_some)):
                watcher = run(given, every, Path(folder) / f"{turn}-{every}")
                done.append(watcher)
                print(f"every {every}: {watcher.seconds:.3f} s a step, waited {watcher.pauses}", flush=True)
        ray.shutdown()
    shares = [sum(one.pauses) / (one.seconds * (len(one.ended) - WARM_UP)) for one in with_some]
    lost = [100 * (b.seconds / a.seconds - 1) for a, b in zip(without, with_some, strict=True)]
    rows = [
        ["seconds a step", *(spread([one.seconds for one in done], 3) for done in (without, with_some))],
        ["waited for one, ms", "", spread([1000 * median(one.pauses) for one in with_some], 1)],
        ["waited, of all time, %", "0", spread([100 * share for share in shares], 2)],
        ["lost in all, of all time, %", "0", spread(lost, 2)],
    ]
    body = f"""## Checkpoints

`{command(__file__)}`

{machine()}.
Model {shown(given.model)}, data {shown(str(given.data))}, {given.batch} rows a step on two stages of one CPU each;
steps {WARM_UP + 1} to {given.steps} of a run; medians (extremes) of {given.rounds} rounds. *Waited*: steps stood still
while the stages copied what they own. *Lost in all*: how much longer a step took, with the pipeline that runs empty and
fills again, and with the files that are written meanwhile on the same CPUs.

{table(["", "without", f"one every {given.every} steps"], rows)}
"""
    print(body)
    replace_section(given.docs, given.section, body)


def run(given: argparse.Namespace, every: int, folder: Path) -> Measured:
    watcher = Measured()
    watcher.after = {step: lambda: watcher.ended.append(time.monotonic()) for step in range(1, given.steps + 1)}
    settings = Config.model_validate(
        {
            "model": {"source": given.model},
            "data": {"train": str(given.data / "train.conll"), "shards": 1},
            "train": {"batch_size": given.batch, "micro_batches": 4, "max_steps": given.steps, "epochs": 1000},
            "plan": {"stages": 2, "timeout": 120},
            "checkpoint": {"every_steps": every, "resume": "never"},
            # A copy is due with each checkpoint in any case; no others in between.
            "recovery": {"copy_every": given.steps, "spares": 0},
        }
    )
    driver = Driver(settings, folder, watcher, may_grow=False, stop=StopRequest())
    try:
        driver.run()
    finally:
        driver.close()
    expected = -(-given.steps // every)
    if len(watcher.checkpoints) != expected:
        raise ValueError(
            f"{len(watcher.checkpoints)} checkpoints where {expected} were to be: an epoch of {given.data} is shorter "
            f"than {given.steps} steps, and each ends with one. Give more data, or lower --steps."
        )
    return watcher


if __name__ == "__main__":
    main()
