"""What is forgotten of three data sets that are learnt in turn: plain, and with each method against it.

    python -m tests.bench.continual --data FOLDER [--methods replay ewc lwf] [--cache .data/bench-continual]

The folder holds train.jsonl and test.jsonl with the columns text and label; each set has the rows of some of its
labels, which no other set has. Every finished sequence is kept in --cache, so that a stopped benchmark goes on where it
was.
Exit code 1 where no method forgets at most half of what plain fine-tuning does.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

from cluster.continual import learn_in_turn
from cluster.session import connected
from pipelines.config import Config
from pipelines.continual.folder import RESULT, kept
from pipelines.continual.forgetting import Learnt
from pipelines.continual.show import draw
from tests.bench.inputs import MINILM
from tests.bench.tables import ROOT, command, machine, replace_section, shown, table

PAGE = ROOT / "docs" / "continual.md"
PICTURE = ROOT / "docs" / "pictures" / "forgetting.png"
NAMES = ("first", "second", "third")
METHODS = ("replay", "ewc", "lwf")
HALF = 0.5


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a folder with train.jsonl and test.jsonl")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=[*METHODS])
    parser.add_argument("--labels", type=int, default=10, help="of each set, in the order of the alphabet")
    parser.add_argument("--rows", type=int, default=40, help="most of a label in train")
    parser.add_argument("--test-rows", type=int, default=40, help="most of a label in test")
    parser.add_argument("--kept", type=int, default=100, help="rows of each earlier set that replay keeps")
    parser.add_argument("--strength", type=float, default=1000.0, help="of weight consolidation")
    parser.add_argument("--weight", type=float, default=0.5, help="of what the model before says")
    parser.add_argument("--model", default=MINILM)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=2e-4)
    parser.add_argument("--stages", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", type=Path, default=ROOT / ".data" / "bench-continual")
    return parser.parse_args()


def write_sets(given: argparse.Namespace, folder: Path) -> list[Path]:
    """The sets' folders: of each label as many rows as are asked for, in the order of the file."""
    lines = {split: (given.data / f"{split}.jsonl").read_text(encoding="utf-8").splitlines() for split in
             ("train", "test")}  # fmt: skip
    rows = {split: [json.loads(line) for line in some if line.strip()] for split, some in lines.items()}
    labels = sorted({row["label"] for row in rows["train"]})
    if len(labels) < given.labels * len(NAMES):
        raise ValueError(f"{given.data} has {len(labels)} labels: too few for {len(NAMES)} sets of {given.labels}.")
    for k, name in enumerate(NAMES):
        own = set(labels[k * given.labels : (k + 1) * given.labels])
        for split, most in (("train", given.rows), ("test", given.test_rows)):
            taken: Counter[str] = Counter()
            chosen = []
            for row in rows[split]:
                if row["label"] in own and taken[row["label"]] < most:
                    taken[row["label"]] += 1
                    chosen.append(json.dumps({"text": row["text"], "label": row["label"]}))
            (folder / name).mkdir(parents=True, exist_ok=True)
            (folder / name / f"{split}.jsonl").write_text("\n".join(chosen) + "\n", encoding="utf-8")
    return [folder / name for name in NAMES]


def learnt(method: str, given: argparse.Namespace) -> Learnt:
    """The result of a method, from the cache where it is there."""
    own = {
        "replay": {"kept": given.kept},
        "ewc": {"strength": given.strength},
        "lwf": {"weight": given.weight},
    }.get(method, {})
    names = ("labels", "rows", "test_rows", "model", "epochs", "batch_size", "learning_rate", "stages", "seed")
    what = {
        "method": method,
        "data": str(given.data.resolve()),
        **{name: getattr(given, name) for name in names},
        **own,
    }
    digest = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:12]
    folder: Path = given.cache.absolute() / f"{method}-{digest}"
    turns = folder / "turns"
    if (turns / RESULT).exists() and (found := kept(turns)).is_whole:
        return found
    sets = write_sets(given, folder / "sets")
    return learn_in_turn(config(method, own, sets, folder, given), folder=turns, tell=print)


def config(method: str, own: dict[str, Any], sets: list[Path], folder: Path, given: argparse.Namespace) -> Config:
    return Config.model_validate(
        {
            "run": {"name": "continual", "seed": given.seed},
            "model": given.model,
            "data": {"shards": 1},
            "continual": {"sets": [str(path) for path in sets], "method": method, **own},
            "train": {
                "task": "sequence-classification",
                "epochs": given.epochs,
                "batch_size": given.batch_size,
                "learning_rate": given.learning_rate,
            },
            "plan": {"stages": given.stages},
            "checkpoint": {"keep": 1, "keep_best": 0},
            "track": {"uri": f"sqlite:///{folder}/mlflow.db", "system_metrics": False},
        }
    )


def report(results: dict[str, Learnt], given: argparse.Namespace) -> str:
    plain = results["none"]
    scores, totals = [], []
    said = {
        "replay": f"Replay keeps {given.kept} rows a set.",
        "ewc": f"Weight consolidation has the strength {given.strength:g}.",
        "lwf": f"Learning without forgetting has the weight {given.weight:g}.",
    }
    settings = [said[method] for method in results if method in said]
    for method, found in results.items():
        for k, after in enumerate(found.after):
            cells = [f"{score:.3f}" for score in after]
            scores.append([f"{method}, after {found.sets[k]}", *cells, *[""] * (len(NAMES) - len(cells))])
        scores.append([f"{method}, forgotten", *(f"{lost:.3f}" for lost in found.forgotten), ""])
        share = found.forgetting / plain.forgetting
        totals.append([method, f"{found.forgetting:.3f}", f"{share:.0%}", f"{found.mean_score:.3f}"])
    return f"""`{command(__file__)}`

{machine()}. Model
{shown(given.model)}, {given.stages} stages, {given.epochs} epochs a set, batches of {given.batch_size},
AdamW {given.learning_rate:g}, seed {given.seed}. Each set has {given.labels} labels of {given.data.resolve().name} that
no other has, at most {given.rows} rows of each in train and {given.test_rows} in test. {" ".join(settings)}
Accuracy on test:

{table(["", *NAMES], scores)}

{table(["method", "forgetting", "of plain", "mean score"], totals)}

![Scores of each set after each run](pictures/{PICTURE.name})
"""


def main() -> int:
    given = arguments()
    with connected():
        results = {method: learnt(method, given) for method in ("none", *given.methods)}
    body = report(results, given)
    print(body)
    replace_section(PAGE, "continual", body)
    draw(PICTURE, list(results.values()))
    plain, *others = (found.forgetting for found in results.values())
    return 0 if min(others) <= HALF * plain else 1


if __name__ == "__main__":
    raise SystemExit(main())
