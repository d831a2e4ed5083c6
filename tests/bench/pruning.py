"""What half of a model's layers cost, and what a trimmed vocabulary, a graph and int8 save after that.

    python -m tests.bench.pruning MODEL --data FOLDER [--layers 3] [key=value ...] [--out .data/bench-pruning]

The folder holds train, dev and test of what the model was trained for. A finished run in --out is not done again.
Exit code 1 where the recovered model loses more than --most-lost points on test.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from cluster.pruning import RUN, prune
from pipelines.compress.compress import Compressed, compress
from pipelines.compress.layers import Worth
from pipelines.compress.recover import recovery
from pipelines.compress.show import MEGABYTE
from pipelines.compress.show_layers import draw
from pipelines.config import Config
from pipelines.data.sources import sources, train_source
from tests.bench.tables import BENCHMARKS, ROOT, command, machine, replace_section, shown, table

PICTURE = ROOT / "docs" / "pictures" / "pruning.png"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a folder as jobs.train writes it")
    parser.add_argument("overrides", nargs="*", help="of the run in which it learns again")
    parser.add_argument("--data", type=Path, required=True, help="a folder with train, dev and test")
    parser.add_argument("--layers", type=int, default=3, help="how many stay")
    parser.add_argument("--rows", type=int, default=256, help="of dev, that the layers are measured on")
    parser.add_argument("--most-lost", type=float, default=2.0, help="points of the score")
    parser.add_argument("--out", type=Path, default=ROOT / ".data" / "bench-pruning")
    return parser.parse_intermixed_args()


def forms_table(found: Compressed) -> str:
    forms = [found.plain, *(one.form for one in found.verdicts)]
    rows = [
        [
            one.name, f"{one.bytes / MEGABYTE:.1f}", f"{100 * one.score:.2f}",
            f"{100 * (found.plain.score - one.score):+.2f}", f"{1000 * one.latency:.1f}",
            f"{one.tokens_per_second:,.0f}", f"{one.tokens_per_second / found.plain.tokens_per_second:.2f}",
        ]
        for one in forms
    ]  # fmt: skip
    name = found.plain.score_name
    return table(["", "MB", f"{name} on test", "lost, points", "ms alone", "sub-words/s", "speed"], rows)


def worth_table(worth: Worth) -> str:
    blocks = sorted(worth.rounds[0])
    rows = [
        [f"{goes} goes", *(f"{one[block]:.3f}" if block in one else "" for block in blocks)]
        for one, goes in zip(worth.rounds, worth.dropped, strict=True)
    ]
    return table(["loss without", *map(str, blocks)], rows)


def report(given: argparse.Namespace, config: Config, worth: Worth, pruned: Compressed, small: Compressed) -> str:
    train, distil, left = config.train, config.train.distil, small.trimmed
    assert distil is not None
    assert left is not None
    return f"""`{command(__file__)}`

{machine()}. {shown(str(given.model))} on {given.data.name}; loss on
{worth.rows} rows of dev, {worth.whole:.3f} with all layers:

{worth_table(worth)}

Recovery: {train.epochs} epochs, batches of {train.batch_size}, AdamW {train.learning_rate:g}, {distil.weight:g} of the
loss from the whole model at T = {distil.temperature:g}. On one thread:

{forms_table(pruned)}

Smaller forms of the recovered model. {left.after:,} of {left.before:,} sub-words stay for the {left.rows:,} rows of
train:

{forms_table(small)}

![What the layers are worth, and what is left](pictures/{PICTURE.name})
"""


def main() -> int:
    given = arguments()
    out = given.out.absolute()
    where = [f"data.path={given.data.absolute()}", f"track.uri=sqlite:///{out}/mlflow.db"]
    config = recovery(given.model, given.model.resolve().name, [*where, *given.overrides])
    pruned = prune(
        config, given.model, out, layers=given.layers, most_rows=given.rows, threads=1,
        most_lost=given.most_lost / 100, tell=print,
    )  # fmt: skip
    shutil.rmtree(out / "small", ignore_errors=True)
    train = train_source(str(given.data))
    test = sources(config.data)["test"]
    small = compress(
        out / RUN / "model", out / "small", source=test, split="test", data=config.data, threads=1, most_lost=0.005,
        tell=print, texts=train,
    )  # fmt: skip
    body = report(given, config, pruned.worth, pruned.forms, small)
    print(body)
    replace_section(BENCHMARKS, "pruning", body)
    draw(PICTURE, pruned.worth, pruned.forms)
    return 0 if pruned.forms.verdicts[-1].lost <= given.most_lost / 100 else 1


if __name__ == "__main__":
    raise SystemExit(main())
