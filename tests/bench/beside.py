"""Runs on two stages beside a plain single-process loop with the same settings, on four labelled data sets of texts.

    python -m tests.bench.beside --data FOLDER [--sets SIB-200 ...] [--seeds 0]

Both read the same batches in the same order and begin with the same head. Without dropout (`--dropout 0`, which writes
a copy of the model that has none) they differ by rounding alone; with the model's own dropout their masks differ, too.
Every finished pair is kept in --cache, so that a stopped benchmark goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import yaml

from pipelines.model.load import resolve
from pipelines.report.journal import read_journal
from tests.bench.inputs import MINILM
from tests.bench.tables import BENCHMARKS, ROOT, command, machine, replace_section, table

FIRST = 20
"""Steps whose losses are compared one by one."""


@dataclass(frozen=True, slots=True)
class Set:
    task: str
    folder: str
    files: dict[str, str]
    epochs: int


def splits(ending: str, *, before: str = "", dev: bool = True) -> dict[str, str]:
    names = ("train", "dev", "test") if dev else ("train", "test")
    return {split: f"{before}{split}.{ending}" for split in names}


SETS = {
    "banking77": Set("sequence-classification", "intent_banking77_en", splits("jsonl", dev=False), 2),
    "BTC": Set("token-classification", "ner_btc_en", splits("conll"), 1),
    "WNUT-17": Set("token-classification", "ner_wnut17_en", splits("conll"), 2),
    "SIB-200": Set("sequence-classification", "cls_sib200_en_zh", splits("jsonl", before="en_"), 6),
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder of the data sets' folders")
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--dropout", type=float, help="the model's own when left out")
    parser.add_argument("--learning-rate", type=float, default=2e-4)
    parser.add_argument("--cache", type=Path, default=ROOT / ".data" / "bench-beside")
    parser.add_argument("--section", default="beside", help="the marked section of the docs to write")
    return parser.parse_args()


def main() -> int:
    """1 if a mean score is more than half a point off."""
    given = arguments()
    rows, near = [], True
    for name in given.sets:
        plain, motley, apart = [], [], []
        for seed in given.seeds:
            loop, run = _kept(name, seed, given)
            plain.append(100 * loop["score"])
            motley.append(100 * run["score"])
            pairs = zip(loop["losses"][:FIRST], run["losses"][:FIRST], strict=True)
            apart.append(max(abs(a - b) / abs(a) for a, b in pairs))
            print(f"{name}, seed {seed}: plain {plain[-1]:.2f}, Motley {motley[-1]:.2f}", flush=True)
        off = mean(motley) - mean(plain)
        near &= abs(off) <= 0.5
        measure = "accuracy" if SETS[name].task == "sequence-classification" else "F1"
        rows.append([name, measure, f"{mean(plain):.2f}", f"{mean(motley):.2f}", f"{off:+.2f}", f"{max(apart):.1e}"])
    replace_section(BENCHMARKS, given.section, _page(given, rows))
    return 0 if near else 1


def _page(given: argparse.Namespace, rows: list[list[str]]) -> str:
    head = ["data", "score", "plain loop", "Motley, 2 stages", "difference", f"losses of the first {FIRST} steps"]
    dropout = "its own dropout" if given.dropout is None else f"dropout {given.dropout:g}"
    epochs = ", ".join(f"{name} {SETS[name].epochs}" for name in given.sets)
    return (
        f"## The same score as a plain loop\n\n`{command(__file__)}`\n\n{machine()}.\nMiniLM-L6 with {dropout}, AdamW "
        f"{given.learning_rate:g} with 10 % warm-up and linear decay, batches of 16, float32; epochs: {epochs}; seeds: "
        f"{', '.join(map(str, given.seeds))}. Scores of the test split in points, means over the seeds. The last "
        f"column is the largest relative difference of a step's loss.\n\n{table(head, rows)}"
    )


def _kept(name: str, seed: int, given: argparse.Namespace) -> tuple[dict[str, Any], dict[str, Any]]:
    """As `_pair`, from the cache where it is there."""
    what = f"{name}-{seed}-{SETS[name].epochs}-{given.dropout}-{given.learning_rate}"
    kept = given.cache / f"{what}.json"
    if not kept.exists():
        with tempfile.TemporaryDirectory(prefix="motley-beside-") as scratch:
            found = _pair(SETS[name], seed, given, Path(scratch))
        kept.parent.mkdir(parents=True, exist_ok=True)
        partial = kept.with_suffix(".partial")
        partial.write_text(json.dumps(found), encoding="utf-8")
        partial.replace(kept)
    loop, run = json.loads(kept.read_text(encoding="utf-8"))
    return loop, run


def _pair(data: Set, seed: int, given: argparse.Namespace, scratch: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The plain loop's losses and score, and the run's."""
    source = MINILM if given.dropout is None else str(_with_dropout(given.dropout, scratch / "model"))
    config = {
        "run": {"name": "beside", "seed": seed, "output": str(scratch / "run")},
        "model": {"source": source},
        "data": {split: str(given.data.resolve() / data.folder / file) for split, file in data.files.items()},
        "train": {"task": data.task, "epochs": data.epochs, "learning_rate": given.learning_rate},
        "plan": {"stages": 2},
        "track": {"uri": f"sqlite:///{scratch}/mlflow.db", "system_metrics": False},
        "checkpoint": {"resume": "never"},
    }
    path = scratch / "beside.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return beside(path, scratch / "run")


def beside(config: Path, run: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Losses by step and the test score, of the plain loop with a config and of the run with it; `run`: its folder."""
    loop: dict[str, Any] = json.loads(run_module("tests.bench.one_loop", str(config)).splitlines()[-1])
    summary: dict[str, Any] = json.loads(run_module("jobs.train", str(config), "--json"))
    losses = [line["loss"] for line in read_journal(run) if line["what"] == "step"]
    return loop, {"losses": losses, "score": summary["test"][0]["score"], "summary": summary}


def _with_dropout(dropout: float, folder: Path) -> Path:
    """A copy of the model but for its dropout."""
    folder.mkdir()
    for file in Path(resolve(MINILM)).iterdir():
        if file.is_file():
            (folder / file.name).symlink_to(file)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").unlink()
    own = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    (folder / "config.json").write_text(json.dumps(config | own), encoding="utf-8")
    return folder


def run_module(module: str, *given: str) -> str:
    """What a module prints; all of what it says when it fails."""
    environment = os.environ | {"TOKENIZERS_PARALLELISM": "false"}
    order = [sys.executable, "-m", module, *given]
    done = subprocess.run(order, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(order)} ended with {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-6000:]}")
    return done.stdout


if __name__ == "__main__":
    raise SystemExit(main())
