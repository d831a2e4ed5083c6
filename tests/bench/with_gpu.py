"""A GPU and the CPUs beside it: each alone, both as a person would cut, and as the planner does.

python -m tests.bench.with_gpu [--data FOLDER] [--model SOURCE] [--steps 30] [--rounds 3]

Wants a machine with a GPU. Unit times are measured at the beginning of every round.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

import ray
import torch

from cluster.profiling import profile
from pipelines.config import Config
from tests.bench.inputs import MINILM
from tests.bench.predicted import run
from tests.bench.tables import BENCHMARKS, ROOT, command, machine, replace_section, shown, spread, table

WAYS: dict[str, dict[str, Any]] = {
    "one CPU": {"stages": 1, "devices": "cpu"},
    "the GPU": {"stages": 1, "devices": "gpu"},
    "embeddings on a CPU, the rest on the GPU": {"place": {"embeddings": "cpu", "*.layer.*": "gpu"}},
    "planned": {},
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT / ".data" / "addresses", help="train, dev and test .conll")
    parser.add_argument("--model", default=MINILM)
    parser.add_argument("--cpus", type=int, default=os.cpu_count(), help="what Ray is told to have")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--docs", type=Path, default=BENCHMARKS)
    parser.add_argument("--section", default="with-gpu", help="the marked section of the docs to write")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    if not torch.cuda.is_available():
        raise SystemExit("torch sees no GPU here, and this is about one.")
    found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory(prefix="motley-with-gpu-") as folder:
        os.environ.update(RAY_AUTH_MODE="disabled", RAY_USAGE_STATS_ENABLED="0", TOKENIZERS_PARALLELISM="false")
        os.environ["MOTLEY_CACHE"] = folder
        ray.init(num_cpus=given.cpus, num_gpus=1, log_to_driver=False, include_dashboard=False)
        for turn in range(given.rounds):
            profile(config(given, Path(folder), {}, "profile"), again=True)
            for way, plan in WAYS.items():
                timing = run(config(given, Path(folder), plan, f"{turn}-{way}"))
                found[way].append(timing)
                print(f"{way}: {timing}", flush=True)
        ray.shutdown()
    rows = [row(way, found[way]) for way in WAYS]
    body = f"""## A GPU and the CPUs beside it

`{command(__file__)}`

{torch.cuda.get_device_name(0)} and {given.cpus} CPUs ({machine()}), a stage on a CPU has one thread.
{Path(given.model).name}, data {shown(str(given.data))}, float32 without TF32, 32 rows in 8 micro-batches; medians
(extremes) of {given.rounds} rounds of {given.steps} steps.

{table(["stages", "step, ms", "predicted over measured"], rows)}
"""
    print(body)
    replace_section(given.docs, given.section, body)


def row(way: str, timings: list[dict[str, float]]) -> list[str]:
    step = spread([1e3 * timing["median_step_seconds"] for timing in timings])
    return [way, step, spread([timing["predicted_over_measured"] for timing in timings], 3)]


def config(given: argparse.Namespace, folder: Path, plan: dict[str, Any], name: str) -> Config:
    settings: dict[str, Any] = {
        "run": {"name": "with-gpu", "output": str(folder / name)},
        "model": {"source": given.model},
        "data": {"train": str(given.data / "train.conll")},
        "train": {"batch_size": 32, "micro_batches": 8, "max_steps": given.steps, "epochs": 1000},
        "plan": plan,
        "track": {"uri": f"sqlite:///{folder}/mlflow.db", "system_metrics": False},
    }
    return Config.model_validate(settings)


if __name__ == "__main__":
    main()
