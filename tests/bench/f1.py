"""Test F1 of Motley and of a plain single-process loop with the same hyper-parameters, over several seeds.

    python -m tests.bench.f1 --data FOLDER [--seeds 0 1 2] [--cache .data/bench-f1]

Every finished run is kept in --cache, so that a stopped benchmark goes on where it was.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from pathlib import Path
from statistics import mean
from typing import Any

from tests.bench import runs
from tests.bench.inputs import MINILM
from tests.bench.tables import BENCHMARKS, ROOT, command, machine, replace_section, shown, table

KEY = "test.0.micro.f1"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a folder with train.conll, dev.conll and test.conll")
    parser.add_argument("--model", default=MINILM)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=2e-5)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--order", choices=("random", "grouped"), default="grouped", help="of the plain loop's batches")
    parser.add_argument("--stages", type=int, default=2)
    parser.add_argument("--cache", type=Path, default=ROOT / ".data" / "bench-f1")
    parser.add_argument("--docs", type=Path, default=BENCHMARKS)
    parser.add_argument("--section", default="f1", help="the marked section of the docs to write")
    return parser.parse_args()


def score(method: str, seed: int, given: argparse.Namespace) -> float:
    """The run's test F1, from the cache where it is there."""
    own = {"order": given.order} if method == "loop" else {"stages": given.stages}
    same = {
        "seed": seed,
        "epochs": given.epochs,
        "batch_size": given.batch_size,
        "learning_rate": given.learning_rate,
        "precision": given.precision,
    }
    what = {"method": method, "data": str(given.data.resolve()), "model": given.model} | same | own
    digest = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:12]
    kept = given.cache / f"{method}-{seed}-{digest}.json"
    if kept.exists():
        return float(json.loads(kept.read_text(encoding="utf-8"))["test_f1"])
    begin = time.perf_counter()
    if method == "loop":
        result: dict[str, Any] = runs.plain("loop", given.data, given.model, **same, **own)
        f1 = runs.figure(result, "test_f1")
    else:
        result = runs.motley(given.data, given.model, **same, **own)
        f1 = runs.figure(result, KEY)
    print(f"seed {seed}: {method} {100 * f1:.2f} ({time.perf_counter() - begin:.0f} s)", flush=True)
    kept.parent.mkdir(parents=True, exist_ok=True)
    partial = kept.with_suffix(".partial")
    partial.write_text(json.dumps({"test_f1": f1, "what": what, "result": result}, indent=1), encoding="utf-8")
    partial.replace(kept)
    return f1


def report(scores: dict[str, list[float]], given: argparse.Namespace) -> str:
    plain, motley = scores["loop"], scores["motley"]
    columns = [*map(str, given.seeds), "mean"]
    rows = [
        ["plain loop", *(f"{100 * f:.2f}" for f in [*plain, mean(plain)])],
        [f"Motley, {given.stages} stages", *(f"{100 * f:.2f}" for f in [*motley, mean(motley)])],
        [
            "difference",
            *(f"{100 * (m - p):+.2f}" for m, p in zip([*motley, mean(motley)], [*plain, mean(plain)], strict=True)),
        ],
    ]
    return f"""## Test F1 on {given.data.resolve().name}

`{command(__file__)}`

{machine()}.
Model {shown(given.model)}, {given.epochs} epochs, batches of {given.batch_size}, AdamW
{given.learning_rate:g} with 10 % warm-up and linear decay, gradients clipped at 1.0, {given.precision}. Entity-level F1
by seqeval, in points, of the last weights, by seed.

{table(["test F1, seed", *columns], rows)}
"""


def main() -> None:
    given = arguments()
    scores: dict[str, list[float]] = {"loop": [], "motley": []}
    for seed in given.seeds:
        for method, found in scores.items():
            found.append(score(method, seed, given))
    body = report(scores, given)
    print(body)
    replace_section(given.docs, given.section, body)


if __name__ == "__main__":
    main()
