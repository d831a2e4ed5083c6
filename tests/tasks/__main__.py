"""Train every task's config on two stages, compare it with simple baselines, and write the table: `make tasks`.

python -m tests.tasks [TASK ...]    only these tasks; the table is written when all were trained
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.bench.tables import ROOT, machine, replace_section, table
from tests.tasks.entries import ENTRIES, Entry

PAGE = ROOT / "docs" / "tasks.md"
DATA = ROOT / ".data"


def main(names: list[str]) -> int:
    """1 if a task does not beat one of its baselines."""
    chosen = [entry for entry in ENTRIES if not names or entry.task in names]
    rows, beaten = [], True
    for entry in chosen:
        begin = time.perf_counter()
        folder = DATA / entry.config
        if not folder.exists():
            _run(["-m", f"jobs.{entry.job[0]}", *entry.job[1:], str(folder)])
        summary = _train(entry, folder)
        test = summary["test"][0]
        scores = {name: baseline(folder) for name, baseline in entry.baselines.items()}
        beaten &= all(test["score"] > score for score in scores.values())
        others = ", ".join(f"{name} {score:.3f}" for name, score in scores.items())
        seconds = time.perf_counter() - begin
        rows.append([entry.task, entry.config, test["score_name"], f"{test['score']:.3f}", others, f"{seconds:.0f} s"])
        print(" | ".join(rows[-1]), flush=True)
    if len(chosen) == len(ENTRIES):
        head = ["task", "config", "score on test", "Motley, 2 stages", "baselines", "took"]
        replace_section(PAGE, "tasks", f"`make tasks`; {machine()}.\n\n{table(head, rows)}")
    return 0 if beaten else 1


def _train(entry: Entry, folder: Path) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="motley-tasks-") as scratch:
        settings = [
            f"data.path={folder}",
            "plan.stages=2",
            f"run.output={scratch}/run",
            f"track.uri=sqlite:///{scratch}/mlflow.db",
            "track.system_metrics=false",
            "checkpoint.resume=never",
        ]
        summary: dict[str, Any] = json.loads(_run(["-m", "jobs.train", entry.config, *settings, "--json"]))
        return summary


def _run(arguments: list[str]) -> str:
    """What it prints; all of what it says when it fails."""
    environment = os.environ | {"TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{' '.join(arguments)} ended with {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-6000:]}")
    return done.stdout


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
