"""What half of a model's layers, of their neurons or of their single weights cost, and what smaller forms save then.

    python -m tests.bench.pruning MODEL --data FOLDER [--layers 3] [--width 0.5] [--weights 0.5]
        [--pattern 2:4] [key=value ...] [--out .data/NAME]

The folder holds train, dev and test of what the model was trained for. With --width, and with --weights, the tables
are a section of their own. A finished run in --out is not done again.
Exit code 1 where the recovered model loses more than --most-lost points on test.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from cluster.pruning import RUN, prune
from pipelines.compress.compress import Compressed, compress
from pipelines.compress.layers import Worth
from pipelines.compress.narrow import Narrowed
from pipelines.compress.prune import Left, Wanted
from pipelines.compress.recover import recovery
from pipelines.compress.show import MEGABYTE
from pipelines.compress.show_pruned import draw
from pipelines.compress.thin import ANY, Thinned
from pipelines.config import Config
from pipelines.data.sources import sources
from tests.bench.tables import BENCHMARKS, ROOT, command, machine, replace_section, shown, table

PICTURES = ROOT / "docs" / "pictures"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a folder as jobs.train writes it")
    parser.add_argument("overrides", nargs="*", help="of the run in which it learns again")
    parser.add_argument("--data", type=Path, required=True, help="a folder with train, dev and test")
    parser.add_argument("--layers", type=int, help="how many stay; 3 where nothing else goes")
    parser.add_argument("--width", type=float, help="share of the neurons of each that stays")
    parser.add_argument("--weights", type=float, help="share of the weights of each neuron that stays")
    parser.add_argument("--pattern", default=ANY, help="2:4: of every four neighbouring weights two stay")
    parser.add_argument("--rows", type=int, default=256, help="of dev, to choose by")
    parser.add_argument("--most-lost", type=float, default=2.0, help="points of the score")
    parser.add_argument("--out", type=Path, help="its own for each pruning")
    given = parser.parse_intermixed_args()
    thinned = given.weights is not None or given.pattern != ANY
    given.name = "sparse" if thinned else "pruning" if given.width is None else "narrowing"
    given.out = (given.out or ROOT / ".data" / f"bench-{given.name}").absolute()
    return given


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


def stays_table(found: Narrowed | Thinned) -> str:
    """How much of the importance stays, block by block."""
    shares = [f"{100 * share:.1f}" for share in found.stays.values()]
    return table(["block", *map(str, range(len(shares)))], [["importance that stays, %", *shares]])


def chosen(left: Left) -> str:
    """By what was chosen what is left."""
    found = []
    if left.layers is not None:
        found.append(f"Loss on {left.layers.rows} rows of dev, {left.layers.whole:.3f} with all layers:")
        found.append(worth_table(left.layers))
    if left.neurons is not None:
        neurons = left.neurons
        found.append(f"{neurons.after:,} of {neurons.before:,} neurons stay in each, by {neurons.rows} rows of dev:")
        found.append(stays_table(neurons))
    if left.weights is not None:
        thinned = left.weights
        whole = f"; {len(thinned.whole)} linear layers are left whole" if thinned.whole else ""
        found.append(
            f"{thinned.after:,} of {thinned.before:,} weights in {thinned.matrices} linear layers stay (pattern "
            f"{thinned.pattern}), by {thinned.rows} rows of dev{whole}:"
        )
        found.append(stays_table(thinned))
    return "\n\n".join(found)


def report(given: argparse.Namespace, config: Config, left: Left, pruned: Compressed, small: Compressed) -> str:
    train, distil, trimmed = config.train, config.train.distil, small.trimmed
    assert distil is not None
    assert trimmed is not None
    return f"""`{command(__file__)}`

{machine()}. {shown(str(given.model))} on {given.data.name}.

{chosen(left)}

Recovery: {train.epochs} epochs, batches of {train.batch_size}, AdamW {train.learning_rate:g}, {distil.weight:g} of the
loss from the whole model at T = {distil.temperature:g}. On one thread:

{forms_table(pruned)}

Smaller forms of the recovered model. {trimmed.after:,} of {trimmed.before:,} sub-words stay for the {trimmed.rows:,}
rows of train:

{forms_table(small)}

![By what was chosen what is left, and what that costs](pictures/{given.name}.png)
"""


def main() -> int:
    given = arguments()
    out = given.out
    layers = 3 if given.name == "pruning" and given.layers is None else given.layers
    wanted = Wanted(layers, given.width, weights=given.weights, pattern=given.pattern)
    where = [f"data.path={given.data.absolute()}", f"track.uri=sqlite:///{out}/mlflow.db"]
    overrides, thinned = [*where, *given.overrides], wanted.share is not None
    config = recovery(given.model, given.model.resolve().name, overrides, keep_zeros=thinned)
    pruned = prune(
        config, given.model, out, wanted=wanted, most_rows=given.rows, threads=1, most_lost=given.most_lost / 100,
        tell=print,
    )  # fmt: skip
    shutil.rmtree(out / "small", ignore_errors=True)
    small = compress(
        out / RUN / "model", out / "small", splits=sources(config.data), split="test", data=config.data, threads=1,
        most_lost=0.005, tell=print, trim_by=str(given.data),
    )  # fmt: skip
    body = report(given, config, pruned.left, pruned.forms, small)
    print(body)
    replace_section(BENCHMARKS, given.name, body)
    draw(PICTURES / f"{given.name}.png", pruned.left, pruned.forms)
    return 0 if pruned.forms.verdicts[-1].lost <= given.most_lost / 100 else 1


if __name__ == "__main__":
    raise SystemExit(main())
