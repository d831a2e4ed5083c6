"""A search of eight trials on real data: the tweets and their sentiment of `python -m jobs.samples sentiment`.

    python -m tests.bench.search [--trials 8]

Ends with 1 if none is better than the config as it is, or a trial is no child run of the search in MLflow.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from mlflow import MlflowClient

from tests.bench.beside import run_module
from tests.bench.tables import BENCHMARKS, ROOT, command, machine, replace_section, table

DATA = ROOT / ".data" / "sentiment"
SPACE = ("train.learning_rate=5e-5..2e-3", "train.batch_size=16,32,64", "train.warmup=0.0..0.2")
PARENT = "mlflow.parentRunId"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=8)
    given = parser.parse_args()
    if not DATA.exists():
        run_module("jobs.samples", "sentiment", str(DATA))
    with tempfile.TemporaryDirectory(prefix="motley-search-") as scratch:
        store = f"sqlite:///{scratch}/mlflow.db"
        settings = [f"data.path={DATA}", "train.epochs=2", f"track.uri={store}", "track.system_metrics=false"]
        searched = [option for one in SPACE for option in ("--search", one)]
        options = ["--trials", str(given.trials), "--output", str(Path(scratch) / "search"), "--json"]
        found: dict[str, Any] = json.loads(
            run_module("jobs.tune", "regression", *settings, *searched, *options).splitlines()[-1]
        )
        children = num_children(store)
    trials, name = found["trials"], f"best {found['score_name']} on dev"
    default = next(one for one in trials if one["as_it_is"])
    rows = [[_settings(one), f"{one['score']:.4f}", str(one["epochs"]), _end(one)] for one in trials]
    replace_section(
        BENCHMARKS,
        "search",
        f"## A search\n\n`{command(__file__)}`\n\n{machine()}.\nThe config `regression` on tweets and their sentiment, "
        f"MiniLM-L6 on 2 stages; {given.trials} trials of at most 2 epochs, {', '.join(f'`{one}`' for one in SPACE)}. "
        f"{children} child runs of the search in MLflow; the best is better than the config as it is by "
        f"{trials[0]['score'] - default['score']:.4f}.\n\n"
        f"{table(['settings', name, 'epochs', 'end'], rows)}",
    )
    print(f"{children} child runs; {trials[0]['score']:.4f} against {default['score']:.4f}", flush=True)
    return 0 if trials[0]["score"] > default["score"] and children == given.trials else 1


def num_children(store: str) -> int:
    """Runs whose parent is the one run that has none."""
    client = MlflowClient(store)
    runs = client.search_runs([one.experiment_id for one in client.search_experiments()])
    (search,) = [run for run in runs if PARENT not in run.data.tags]
    return sum(run.data.tags.get(PARENT) == search.info.run_id for run in runs)


def _settings(trial: dict[str, Any]) -> str:
    chosen = [f"{key.rpartition('.')[2]} {value:.3g}" for key, value in trial["chosen"].items()]
    return ", ".join(chosen) + ", as the config says" * trial["as_it_is"]


def _end(trial: dict[str, Any]) -> str:
    return "stopped early" if trial["stopped"] else "ran to its end"


if __name__ == "__main__":
    raise SystemExit(main())
