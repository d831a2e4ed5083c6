"""Plain data parallel by Ray Train against a pipeline and against one stage, on as many CPUs.

    python -m tests.bench.data_parallel [--data FOLDER] [--steps 105] [--rounds 3]

Each round runs every way in turn, each in its own process; every other round runs backwards. The steps are those of
tests/bench/throughput.py.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from tests.bench import runs
from tests.bench.inputs import MINILM
from tests.bench.tables import BENCHMARKS, ROOT, command, machine, replace_section, shown, spread, table

SPEED, STEP, BYTES = (
    "throughput.useful_tokens_per_second",
    "timing.median_step_seconds",
    "throughput.bytes_sent_per_step",
)
DATA = "data: {n} workers"
PIPELINE = "pipeline: {n} stages"
ALONE = "one stage, {n} threads"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT / ".data" / "addresses", help="train, dev and test .conll")
    parser.add_argument("--model", default=MINILM)
    parser.add_argument("--cpus", type=int, default=2, help="workers, stages, and threads of the one stage")
    parser.add_argument("--steps", type=int, default=105)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--micro-batches", type=int, default=4)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--docs", type=Path, default=BENCHMARKS)
    parser.add_argument("--section", default="data-parallel", help="the marked section of the docs to write")
    return parser.parse_args()


def ways(given: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """What is compared: how many CPUs a stage has, the plan, and pieces of a batch."""
    n, pieces = given.cpus, given.micro_batches
    return {
        DATA.format(n=n): {"plan": {"strategy": "data", "workers": n, "stages": 1}, "micro_batches": n},
        PIPELINE.format(n=n): {"stages": n, "micro_batches": pieces},
        ALONE.format(n=n): {"stages": 1, "cpus": n, "micro_batches": 1},
    }


def measure(given: argparse.Namespace) -> list[dict[str, dict[str, float]]]:
    rounds = []
    for turn in range(given.rounds):
        found: dict[str, dict[str, float]] = {}
        chosen = list(ways(given).items())
        for name, way in chosen if turn % 2 == 0 else reversed(chosen):
            begin = time.perf_counter()
            summary = runs.motley(
                given.data,
                given.model,
                max_steps=given.steps,
                epochs=1000,  # max_steps ends the run
                precision=given.precision,
                batch_size=given.batch_size,
                **way,
            )
            found[name] = {key: runs.figure(summary, key) for key in (SPEED, STEP, BYTES)}
            spent = time.perf_counter() - begin
            print(f"round {turn + 1}: {name:24s} {found[name][SPEED]:8,.0f} tokens/s ({spent:.0f} s)", flush=True)
        rounds.append(found)
    return rounds


def main() -> None:
    given = arguments()
    rounds = measure(given)
    data, *others = ways(given)
    rows = [
        [
            name,
            spread([found[name][SPEED] for found in rounds]),
            spread([1000 * found[name][STEP] for found in rounds], 1),
            f"{rounds[0][name][BYTES] / 1e6:,.1f}",
        ]
        for name in ways(given)
    ]
    ratios = [
        [f"{data} / {other}", spread([found[data][SPEED] / found[other][SPEED] for found in rounds], 2)]
        for other in others
    ]
    body = f"""## Plain data parallel on {given.data.resolve().name}

`{command(__file__)}`

{machine()}.
Model {shown(given.model)}, {given.precision}, batches of {given.batch_size}, {given.steps} steps of which the first 5
are not measured. *Data*: Ray Train, DistributedDataParallel over gloo, {given.cpus} workers of one CPU with one
micro-batch each; *pipeline*: as many stages of one CPU, {given.micro_batches} micro-batches; *one stage* has all of
these CPUs, and no micro-batches. Steps have the same rows everywhere. Megabytes are those that all processes together
send in a step. Medians (extremes) of {given.rounds} rounds.

{table(["way", "useful tokens/s", "step, ms", "MB a step"], rows)}

{table(["compared within a round", "times as fast"], ratios)}
"""
    print(body)
    replace_section(given.docs, given.section, body)
    print(f"Written to {given.docs}, section {given.section!r}.")


if __name__ == "__main__":
    main()
