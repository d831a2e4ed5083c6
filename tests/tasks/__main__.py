"""Train every task's config on two stages, compare it with simple baselines, and write the table: `make tasks`.

python -m tests.tasks [TASK ...]    only these tasks; the other lines of the table stay
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

from pipelines.config import load_config
from tests.bench.tables import ROOT, machine, replace_section, table
from tests.tasks.entries import ENTRIES, Entry

PAGE = ROOT / "docs" / "tasks.md"
DATA = ROOT / ".data"
HEAD = ("task", "config", "model", "score on test", "Motley, 2 stages", "baselines", "took")
CONFIGS = ROOT / "jobs" / "configs"


def main(names: list[str]) -> int:
    """1 if a task does not beat one of its baselines."""
    chosen = [entry for entry in ENTRIES if not names or entry.task in names]
    rows, beaten = [], True
    for entry in chosen:
        begin = time.perf_counter()
        folder = DATA / entry.job[-1]
        if not folder.exists():
            _run(["-m", f"jobs.{entry.job[0]}", *entry.job[1:], str(folder)])
        with tempfile.TemporaryDirectory(prefix="motley-tasks-") as scratch:
            settings = _settings(entry, folder, Path(scratch))
            summary = _train(entry, settings, Path(scratch))
            config = load_config(str(CONFIGS / f"{entry.config}.yaml"), settings)
            scores = {name: baseline(config) for name, baseline in entry.baselines.items()}
        test = summary["test"][0]
        score, score_name = (test[entry.score], entry.score) if entry.score else (test["score"], test["score_name"])
        beaten &= all(score > other for other in scores.values())
        others = ", ".join(f"{name} {other:.3f}" for name, other in scores.items())
        seconds = time.perf_counter() - begin
        model = entry.model or "the config's"
        rows.append([entry.task, entry.config, model, score_name, f"{score:.3f}", others, f"{seconds:.0f} s"])
        print(" | ".join(rows[-1]), flush=True)
        _write(rows[-1])
    return 0 if beaten else 1


def _write(row: list[str]) -> None:
    """Put a task's line into the table, in the place of the one that was there."""
    lines = PAGE.read_text(encoding="utf-8").partition("<!-- tasks:begin -->")[2].partition("<!-- tasks:end -->")[0]
    there = {line.split(" | ")[0].removeprefix("| "): line for line in lines.splitlines() if line.startswith("| ")}
    cells = {entry.task: there[entry.task].strip("| ").split(" | ") for entry in ENTRIES if entry.task in there}
    cells[row[0]] = row
    kept = [cells[entry.task] for entry in ENTRIES if entry.task in cells]
    replace_section(PAGE, "tasks", f"`make tasks`; {machine()}.\n\n{table(HEAD, kept)}")


def _settings(entry: Entry, folder: Path, scratch: Path) -> list[str]:
    """What differs from the config."""
    source = entry.source if isinstance(entry.source, str) else str(entry.source(scratch / "model", folder))
    model = [f"model.source={source}"] if source else []
    return [f"data.path={folder}", "plan.stages=2", *model, *entry.settings]


def _train(entry: Entry, settings: list[str], scratch: Path) -> dict[str, Any]:
    """The run's summary."""
    own = [
        f"run.output={scratch}/run",
        f"track.uri=sqlite:///{scratch}/mlflow.db",
        "track.system_metrics=false",
        "checkpoint.resume=never",
    ]
    summary: dict[str, Any] = json.loads(_run(["-m", "jobs.train", entry.config, *settings, *own, "--json"]))
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
