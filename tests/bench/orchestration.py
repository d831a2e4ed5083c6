"""What it costs to run a schedule: stages that only sleep, everything else as in a run.

python -m tests.bench.orchestration [--shapes 2x16 4x32 16x64 64x256] [--schedules 1f1b eager-1f1b] [--rounds 3]
"""

from __future__ import annotations

import argparse
import os
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import ray

from cluster.session import connect, disconnect
from cluster.transport import Keys
from cluster.waiting import wait_for
from pipelines.plan.pipeline import Pipeline
from pipelines.plan.schedules import make_schedule
from pipelines.plan.simulate import ideal_seconds
from pipelines.train.executor import StepOrder
from tests.bench.sleeping import SleepingActor, Sleeps
from tests.bench.tables import BENCHMARKS, command, machine, replace_section, spread, table

WAVE = 8
"""Actors that start at once: each loads torch, which keeps a core busy for a second."""
TIMEOUT = 300.0
HEAD = (
    "stages x micro-batches", "schedule", "step, s", "ideal, s", "ideal / step, %", "CPU a message, us",
    "own memory of an actor, MiB",
)  # fmt: skip


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", default=["2x16", "4x32", "16x64", "64x256"], help="STAGESxMICRO_BATCHES")
    parser.add_argument("--schedules", nargs="+", default=["1f1b", "eager-1f1b"])
    parser.add_argument("--forward", type=float, default=10, help="milliseconds that a forward sleeps")
    parser.add_argument("--backward", type=float, default=20)
    parser.add_argument("--kilobytes", type=int, default=192, help="of one message (1024 bytes each)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--docs", type=Path, default=BENCHMARKS)
    return parser.parse_args()


Round = tuple[float, float, float]
"""The step's seconds, the ideal ones for the sleeps as they lasted, and what all actors took of the processors."""


@contextmanager
def pipeline(num_stages: int, sleeps: Sleeps) -> Iterator[list[Any]]:
    """Actors that know each other; they end with the block."""
    keys, actors = Keys.new(), []
    make = SleepingActor.options(num_cpus=0)
    try:
        for first in range(0, num_stages, WAVE):
            wave = range(first, min(first + WAVE, num_stages))
            actors += [make.remote(j, num_stages, sleeps, keys, TIMEOUT) for j in wave]
            ask(actors, "cpu_seconds")
        room = f"motley-{secrets.token_hex(8)}"
        addresses = dict(enumerate(ask(actors, "bind", room)))
        ask(actors, "connect", addresses)
        yield actors
        ask(actors, "close")
    finally:
        for actor in actors:
            ray.kill(actor)


def ask(actors: Sequence[Any], method: str, *args: Any) -> list[Any]:
    calls = {f"stage {j}": getattr(actor, method).remote(*args) for j, actor in enumerate(actors)}
    return wait_for(calls, to=method, timeout=TIMEOUT)


def one_round(actors: Sequence[Any], schedule: Sequence[Sequence[Any]], num_micro_batches: int, step: int) -> Round:
    """The step's seconds, the ideal ones for the sleeps as they lasted, and for the nominal ones; CPU seconds."""
    before = sum(ask(actors, "cpu_seconds"))
    calls = {
        f"stage {j}": actor.run_step.remote(StepOrder(step, tuple(schedule[j]), 1.0), num_micro_batches)
        for j, actor in enumerate(actors)
    }
    reports = wait_for(calls, to="run the step", timeout=TIMEOUT)
    spent = sum(ask(actors, "cpu_seconds")) - before
    seconds = max(r.events[-1].end for r in reports) - min(r.events[0].start for r in reports)
    return seconds, ideal_seconds(schedule, [report.events for report in reports]), spent


def main() -> None:
    given = arguments()
    sleeps = Sleeps(given.forward / 1000, given.backward / 1000, given.kilobytes * 256)
    connect(num_cpus=len(os.sched_getaffinity(0)))
    rows = []
    for shape in given.shapes:
        num_stages, num_micro_batches = (int(number) for number in shape.split("x"))
        begin = time.perf_counter()
        with pipeline(num_stages, sleeps) as actors:
            print(f"{shape}: {num_stages} actors after {time.perf_counter() - begin:.0f} s", flush=True)
            step = 0
            for name in given.schedules:
                schedule = make_schedule(name, Pipeline(tuple(range(num_stages))), num_micro_batches)
                found = []
                for _ in range(given.rounds + 1):
                    found.append(one_round(actors, schedule, num_micro_batches, step))
                    step += 1
                step_s, ideal, cpu = zip(*found[1:], strict=True)
                share = [100 * i / s for s, i in zip(step_s, ideal, strict=True)]
                messages = 2 * (num_stages - 1) * num_micro_batches
                own = max(ask(actors, "own_memory")) / 2**20
                per_message = [1e6 * c / messages for c in cpu]
                rows.append(
                    [
                        f"{num_stages} x {num_micro_batches}", name, spread(step_s, 3), spread(ideal, 3),
                        spread(share, 1), spread(per_message), f"{own:.0f}",
                    ]
                )  # fmt: skip
                print(
                    f"{shape} {name}: {median(share):.1f} % of ideal, {median(per_message):.0f} us a message",
                    flush=True,
                )
    disconnect()
    body = f"""## Orchestration: stages that only sleep

`{command(__file__)}`

{machine()}.
Every stage is an actor whose forward sleeps {given.forward:g} ms and whose backward {given.backward:g} ms; executor, \
transport, schedules and
messages ({given.kilobytes * 1024:,} bytes, both ways) are those of a run. The ideal step replays the schedule with the
sleeps as they really lasted and nothing between them. CPU is what all actors' processes took together, sleeps' ends and
Ray's threads included. Medians (extremes) of {given.rounds} rounds after one that is not counted.

{table(HEAD, rows)}
"""
    print(body)
    replace_section(given.docs, "orchestration", body)


if __name__ == "__main__":
    main()
