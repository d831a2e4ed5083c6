"""Nodes of a run are cut off, killed and added while it goes on, and it ends with the weights of an untouched run.

python -m tests.bench.nodes [--data FOLDER] [--stages 3]

Nodes are Ray nodes in network namespaces on this machine (tests/bench/namespaces.py), which needs root. The run is
`python -m jobs.train`; what is done to its nodes is done from outside, when its journal tells of a step.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
import torch
import yaml
from safetensors.torch import load_file

from pipelines.report.journal import Follower, read_journal, rows_by_epoch
from tests.bench.inputs import MINILM
from tests.bench.namespaces import Nodes, namespaces
from tests.bench.tables import BENCHMARKS, ROOT, command, machine, replace_section, shown, table

STEPS, EVERY, COPY_EVERY = 60, 15, 5
CUT, KILLED, JOINED = 7, 22, 32
"""The steps after which something is done."""
PHASES = ("left", "planned", "built", "replayed")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT / ".data" / "addresses", help="train, dev and test .conll")
    parser.add_argument("--stages", default="3", help="a number, or auto")
    parser.add_argument("--docs", type=Path, default=BENCHMARKS)
    parser.add_argument("--section", default="nodes", help="the marked section of the docs to write")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    with tempfile.TemporaryDirectory(prefix="motley-nodes-") as place:
        folder = Path(place)
        environment = {
            "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "HF_HUB_OFFLINE": "1",
            "TOKENIZERS_PARALLELISM": "false", "MOTLEY_CACHE": str(folder / "cache"), "PYTHONPATH": str(ROOT),
        }  # fmt: skip
        start(config(given, folder / "untouched", stages="1"), environment, folder / "untouched.log").check()
        with namespaces(environment, head_cpus=1) as nodes:
            first, second = nodes.join(1), nodes.join(1)
            wait_for(nodes, 3)
            run = start(
                config(given, folder / "run", stages=given.stages),
                environment | {"RAY_ADDRESS": nodes.address},
                folder / "run.log",
            )
            acts = [
                (CUT, "one is cut off", lambda: nodes.cut_off(first)),
                (KILLED, "one is killed", lambda: nodes.kill(second)),
                (JOINED, "one joins", lambda: nodes.join(1)),
            ]
            times = run.follow(folder / "run", acts)
            run.check()
        told = [line for line in read_journal(folder / "run") if line["what"] == "moved"]
        differing = compare(folder / "untouched", folder / "run")
        rows = rows_by_epoch(folder / "run") == rows_by_epoch(folder / "untouched")
        print((folder / "run.log").read_text("utf-8"), flush=True)
    write(given, told, times, differing=differing, same_rows=rows)
    if differing or not rows:
        sys.exit(f"Not as the untouched run: {differing or 'other rows'}")


class Run:
    """One command that trains."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process, self._log = process, log

    def follow(self, folder: Path, acts: list[tuple[int, str, Callable[[], object]]]) -> dict[str, float]:
        """Do each when its step is told of; returns when it was done, in seconds since the epoch."""
        progress, done = Follower(folder), dict[str, float]()
        for after, name, act in acts:
            while progress.step() < after and self._process.poll() is None:
                time.sleep(0.05)
            done[name] = time.time()
            act()
            print(f"after step {progress.step()}: {name}", flush=True)
        return done

    def check(self) -> None:
        """Wait for its end."""
        if self._process.wait():
            sys.exit(f"It ended with {self._process.returncode}:\n{self._log.read_text('utf-8')[-8000:]}")


def start(config: Path, environment: dict[str, str], log: Path) -> Run:
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "jobs.train", str(config)],
            cwd=ROOT, env=os.environ | environment, stdout=file, stderr=subprocess.STDOUT,
        )  # fmt: skip
    return Run(process, log)


def config(given: argparse.Namespace, output: Path, *, stages: str) -> Path:
    settings: dict[str, Any] = {
        "run": {"name": "nodes", "output": str(output)},
        "model": {"source": MINILM},
        "data": {"train": str(given.data / "train.conll"), "shards": 1},
        "train": {"batch_size": 16, "micro_batches": 4, "max_steps": STEPS, "epochs": 1000},
        "plan": {"stages": stages if stages == "auto" else int(stages), "timeout": 120},
        "checkpoint": {"every_steps": EVERY, "resume": "never"},
        "recovery": {"copy_every": COPY_EVERY, "silence": 15},
        "track": {"uri": f"sqlite:///{output.parent}/mlflow.db", "system_metrics": False},
    }
    path = output.with_suffix(".yaml")
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return path


def wait_for(nodes: Nodes, number: int) -> None:
    """Until so many nodes are alive."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            ray.init(address=nodes.address, log_to_driver=False, logging_level="ERROR")
            there = sum(node["Alive"] for node in ray.nodes())
            ray.shutdown()
            if there == number:
                return
        except ConnectionError:
            pass
        time.sleep(1)
    sys.exit(f"There are not {number} nodes after 120 s.")


def compare(one: Path, other: Path) -> list[str]:
    """The weights that are not bitwise the same."""
    first, second = (load_file(folder / "model" / "model.safetensors") for folder in (one, other))
    return [name for name, value in first.items() if not torch.equal(value, second[name])]


def write(
    given: argparse.Namespace,
    told: list[dict[str, Any]],
    times: dict[str, float],
    *,
    differing: list[str],
    same_rows: bool,
) -> None:
    rows = []
    for move in told:
        event = "one joins" if move["joined"] else "one is cut off" if move is told[0] else "one is killed"
        seconds = move["seconds"]
        rows.append(
            [
                event,
                str(move["step"]),
                f"{move['stages_before']} → {move['stages']}",
                str(move["replayed"]),
                f"{move['at'] - times[event] - sum(seconds.values()):.1f}",
                *(f"{seconds[phase]:.1f}" for phase in PHASES),
            ]
        )
    ending = "are bitwise those" if not differing else f"differ ({len(differing)} tensors) from those"
    body = f"""## Lost and joining nodes

`{command(__file__)}`

{machine()}.
MiniLM-L6, data {shown(str(given.data))}, {STEPS} steps of 16 rows, `plan.stages={given.stages}`; a copy every
{COPY_EVERY} steps, a checkpoint every {EVERY}; a head and two Ray nodes of one CPU each in network namespaces of their
own. All weights at the end {ending} of an untouched run with one stage, which learnt from
{"the same" if same_rows else "other"} rows. Seconds: from the event until it was noticed (for one that joins: until the
next checkpoint), and by phase.

{table(["node", "after step", "stages", "steps run again", "noticed", *PHASES], rows)}
"""
    print(body)
    replace_section(given.docs, given.section, body)


if __name__ == "__main__":
    main()
