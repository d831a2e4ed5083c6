"""Start the runs that are compared, each in a process of its own, and read what they measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.bench.tables import ROOT


def plain(method: str, data: Path, model: str, **options: Any) -> dict[str, Any]:
    """Run a baseline; the options are those of tests.bench.plain, `batch_size=16` for `--batch-size 16`."""
    command = [sys.executable, "-m", "tests.bench.plain", method, "--data", str(data), "--model", model]
    for name, value in options.items():
        command += [f"--{name.replace('_', '-')}", str(value)]
    result: dict[str, Any] = json.loads(_run(command).splitlines()[-1])
    return result


def motley(
    data: Path, model: str, *, stages: int = 1, cpus: int = 1, plan: Mapping[str, Any] | None = None, **train: Any
) -> dict[str, Any]:
    """Run the main job with `train` as its section of that name, and return its summary.json.

    Whatever is not said keeps its default; the seed is `seed=`. Every stage has `cpus` CPUs; `plan` says more of it.
    """
    with tempfile.TemporaryDirectory(prefix="motley-bench-") as folder:
        output = Path(folder) / "run"
        config = {
            "run": {"name": "bench", "seed": train.pop("seed", 0), "output": str(output)},
            "model": {"source": model},
            "data": {split: str(data / f"{split}.conll") for split in ("train", "dev", "test")},
            "train": train,
            "plan": {"stages": stages, "cpus_per_stage": cpus, **(plan or {})},
            "track": {"uri": f"sqlite:///{folder}/mlflow.db", "system_metrics": False},
        }
        path = Path(folder) / "bench.yaml"
        path.write_text(yaml.safe_dump(config), encoding="utf-8")
        _run([sys.executable, "-m", "jobs.train", str(path)])
        summary: dict[str, Any] = json.loads((output / "summary.json").read_text(encoding="utf-8"))
        return summary


def figure(summary: dict[str, Any], key: str) -> float:
    """Read `throughput.useful_tokens_per_second`, `test.0.micro.f1` and the like."""
    value: Any = summary
    for part in key.split("."):
        if isinstance(value, list):
            value = dict(zip(map(str, range(len(value))), value, strict=True))
        if not isinstance(value, dict) or part not in value:
            raise ValueError(f"summary.json has no {key!r}: {part!r} is missing among {sorted(value)}.")
        value = value[part]
    return float(value)


def _run(command: list[str]) -> str:
    """Return what the command printed; show it all when it fails."""
    environment = os.environ | {"TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-4000:]}\n{done.stderr[-8000:]}")
    return done.stdout
