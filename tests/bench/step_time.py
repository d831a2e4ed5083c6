"""The measured time of a step over the ideal one, which the stages' measured forward and backward times give.

python -m tests.bench.step_time [--data FOLDER] [--stages 1 2 3] [--steps 60] [--rounds 3]
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from tests.bench import runs
from tests.bench.inputs import MINILM
from tests.bench.tables import BENCHMARKS, ROOT, command, machine, replace_section, shown, spread, table

STEP, IDEAL, RATIO = "timing.median_step_seconds", "timing.median_ideal_seconds", "timing.step_over_ideal"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT / ".data" / "addresses", help="train, dev and test .conll")
    parser.add_argument("--model", default=MINILM)
    parser.add_argument("--stages", type=int, nargs="+", default=[1, 2, 3], help="more than there are cores: left out")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--docs", type=Path, default=BENCHMARKS)
    parser.add_argument("--section", default="step-time", help="the marked section of the docs to write")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    cores = len(os.sched_getaffinity(0))
    rows = []
    for stages in given.stages:
        if stages > cores:
            print(f"{stages} stages: left out, there are {cores} cores and a stage needs one of its own.", flush=True)
            continue
        found = []
        for _ in range(given.rounds):
            summary = runs.motley(
                given.data, given.model, stages=stages, max_steps=given.steps, epochs=1000, precision=given.precision
            )
            found.append([runs.figure(summary, key) for key in (STEP, IDEAL, RATIO)])
            print(f"{stages} stages: step / ideal = {found[-1][2]:.3f}", flush=True)
        step, ideal, ratio = zip(*found, strict=True)
        milliseconds = [[1000 * t for t in times] for times in (step, ideal)]
        rows.append([str(stages), *(spread(times, 1) for times in milliseconds), spread(ratio, 3)])
    body = f"""## Step time over the ideal, on {given.data.resolve().name}

`{command(__file__)}`

{machine()}.
Model {shown(given.model)}, {given.precision}, one CPU a stage. The ideal step replays the schedule with the
forward and backward times that the stages measured, with no time between them. Medians (extremes) of
{given.rounds} rounds.

{table(["stages", "step, ms", "ideal, ms", "step / ideal"], rows)}
"""
    print(body)
    replace_section(given.docs, given.section, body)


if __name__ == "__main__":
    main()
