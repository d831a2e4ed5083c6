"""How long a lost stage keeps a run from going on, next to a restart of all workers from disk, as Ray Train does.

python -m tests.bench.recovery [--data FOLDER] [--rounds 5]

A process is killed by a signal. `by a spare`, `by a new process`: one of two stages; the other keeps its process. The
spare is ready when the stage is killed. `all from disk`: one of two workers of plain data parallel; Ray Train starts
both again from the newest checkpoint, which is as old as the copies of the stages are.
"""

from __future__ import annotations

import argparse
import os
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import ray

from cluster.data_parallel import DataParallel
from cluster.driver import Driver, StopRequest
from cluster.one_replica import OneReplica
from pipelines.config import Config
from tests.bench.inputs import MINILM
from tests.bench.tables import BENCHMARKS, ROOT, command, machine, replace_section, shown, spread, table
from tests.cluster.watcher import Watcher

EVERY, KILLED_AFTER, STEPS = 5, 7, 12
PHASES = ("found", "started", "built", "restored", "replayed")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT / ".data" / "addresses", help="train, dev and test .conll")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--docs", type=Path, default=BENCHMARKS)
    parser.add_argument("--section", default="recovery", help="the marked section of the docs to write")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    replaced: dict[int, list[dict[str, float]]] = {1: [], 0: []}
    """By the number of spares."""
    restarted: list[float] = []
    with tempfile.TemporaryDirectory(prefix="motley-recovery-") as folder:
        os.environ.update(RAY_AUTH_MODE="disabled", RAY_USAGE_STATS_ENABLED="0", TOKENIZERS_PARALLELISM="false")
        os.environ["MOTLEY_CACHE"] = folder
        ray.init(num_cpus=2, log_to_driver=False, include_dashboard=False)
        for turn in range(given.rounds):
            for spares, done in replaced.items():
                settings = config(given, {"stages": 2}, spares)
                watcher, _ = run(Driver, settings, Path(folder) / f"{turn}-{spares}", "ray::StageShell")
                (recovery,) = watcher.recoveries
                assert len(recovery.by_spares) == spares, recovery
                done.append(dict(recovery.seconds))
                print(recovery, flush=True)
            settings = config(given, {"strategy": "data", "workers": 2})
            _, seconds = run(DataParallel, settings, Path(folder) / f"{turn}-data", "RayTrainWorker")
            restarted.append(seconds)
            print(f"all workers from disk: {seconds:.1f} s", flush=True)
        ray.shutdown()
    beyond = [spread([sum(one.values()) - one["replayed"] for one in done], 2) for done in replaced.values()]
    rows = [
        *([phase, *(spread([one[phase] for one in done], 2) for done in replaced.values()), ""] for phase in PHASES),
        ["all but the replayed steps", *beyond, ""],
        ["to the first new step", "", "", spread(restarted, 2)],
    ]
    body = f"""## A lost process

`{command(__file__)}`

{machine()}.
MiniLM-L6, data {shown(str(given.data))}, 32 rows a step; a copy or a checkpoint every {EVERY} steps, a kill after
step {KILLED_AFTER}; medians (extremes) of {given.rounds} rounds, in seconds. A stage is replaced by a spare
(`recovery.spares`), or by a new process; *all from disk* is a restart of all workers of plain data parallel by Ray
Train, and has the steps since the checkpoint in it, as many as the stages run again.

{table(["", "by a spare", "by a new process", "all from disk"], rows)}
"""
    print(body)
    replace_section(given.docs, given.section, body)


def run(kind: type[Driver] | type[DataParallel], settings: Config, folder: Path, victim: str) -> tuple[Watcher, float]:
    """Train with one kill; also the seconds from the kill to the next step that was not done before."""
    watcher = Watcher()
    times: dict[int, float] = {}

    def note(step: int) -> Callable[[], None]:
        return lambda: times.setdefault(step, time.monotonic())

    def kill() -> None:
        note(KILLED_AFTER)()
        if isinstance(driver, Driver):
            wait_for_spares(driver)
        os.kill(process_of(victim), signal.SIGKILL)

    watcher.after = {step: note(step) for step in range(1, STEPS + 1)} | {KILLED_AFTER: kill}
    driver: Any = kind(settings, folder, watcher, may_grow=False, stop=StopRequest())
    try:
        driver.run()
    finally:
        driver.close()
    # The step after the kill was under way already.
    return watcher, times[KILLED_AFTER + 2] - times[KILLED_AFTER]


def wait_for_spares(driver: Driver) -> None:
    assert isinstance(driver._fleet, OneReplica)
    driver._fleet._spares.processes()


def process_of(name: str) -> int:
    """One of the processes of that name that this one started, the last of them."""
    started = psutil.Process().children(recursive=True)
    return [process.pid for process in started if name in " ".join(process.cmdline())][-1]


def config(given: argparse.Namespace, plan: dict[str, Any], spares: int = 0) -> Config:
    settings: dict[str, Any] = {
        "model": {"source": MINILM},
        "data": {"train": str(given.data / "train.conll"), "shards": 1},
        "train": {"batch_size": 32, "micro_batches": 4, "max_steps": STEPS, "epochs": 1000},
        "plan": {"timeout": 120} | plan,
        "checkpoint": {"every_steps": EVERY if plan.get("strategy") == "data" else None, "resume": "never"},
        "recovery": {"copy_every": EVERY, "spares": spares},
    }
    return Config.model_validate(settings)


if __name__ == "__main__":
    main()
