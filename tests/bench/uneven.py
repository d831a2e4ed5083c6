"""Pairs of devices of unlike speed: what planning gains over an even split, and what the second device adds.

python -m tests.bench.uneven [--data FOLDER] [--ratios 2 3 5] [--slowdown 1] [--steps 12] [--rounds 2]

Each device is a real stage on a Ray node of its own. The slow one's label motley.slowdown makes it sleep after every
action, so that it is as many times slower. Real devices have memory and caches of their own; two processes of one
machine do not, and slow each other when they compute at once, which counts against the plan. With --slowdown both sleep
so many times longer, and compute at once the less often. A model with random weights learns real text; of more blocks
it can be divided more nearly as the devices' speeds are.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Any

import ray
from ray.cluster_utils import Cluster

from cluster.training import train
from pipelines.config import Config
from tests.bench.inputs import MINILM, locate
from tests.bench.steps import predicted, seconds, steps_of
from tests.bench.tables import BENCHMARKS, ROOT, command, machine, replace_section, shown, spread, table

FAST, SLOW = "fast", "slow"
USELESS = 60
"""A device so many times slower adds less than it costs to send it anything."""


@dataclass(frozen=True, slots=True)
class Ran:
    seconds: float
    """Of a step in the mean; so is `predicted`."""
    predicted: float
    busy: dict[str, float]
    """By device, the part of a step that it worked, in the mean."""
    left_out: str


Found = dict[float, dict[str, list[Ran]]]
"""By ratio and by plan, of each round."""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT / ".data" / "addresses", help="train, dev and test .conll")
    parser.add_argument("--ratios", type=float, nargs="+", default=[2, 3, 5])
    parser.add_argument("--slowdown", type=float, default=1, help="of the fast device; the slow one has r times that")
    parser.add_argument("--batch-size", type=int, default=64, help="examples a step")
    parser.add_argument("--micro-batches", type=int, default=16)
    parser.add_argument("--blocks", type=int, default=12)
    parser.add_argument("--width", type=int, default=384, help="of the model's hidden state, in steps of 32")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--useless", action="store_true", help=f"also a device {USELESS} times slower, and what of it")
    parser.add_argument("--docs", type=Path, default=BENCHMARKS)
    parser.add_argument("--section", default="uneven", help="the marked section of the docs to write")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    os.environ.update(RAY_AUTH_MODE="disabled", RAY_USAGE_STATS_ENABLED="0", TOKENIZERS_PARALLELISM="false")
    found: Found = {}
    with tempfile.TemporaryDirectory(prefix="motley-uneven-") as folder:
        os.environ["MOTLEY_CACHE"] = folder
        model = write_model(Path(folder) / "model", given.blocks, given.width)
        bench = Bench(Path(folder), model, given)
        for ratio in given.ratios:
            with pair(ratio, given.slowdown):
                runs = found[ratio] = {name: [] for name in plans(given.blocks)}
                for _ in range(given.rounds):
                    for name, plan in plans(given.blocks).items():
                        runs[name].append(bench.run(plan))
                        print(f"r = {ratio:g}, {name}: {runs[name][-1]}", flush=True)
                # An hour's work is not lost with the last of it.
                replace_section(given.docs, given.section, tables(given, found))
        told = ""
        if given.useless:
            # To measure a device that is so slow takes many minutes.
            with pair(USELESS, given.slowdown):
                told = bench.run({}).left_out
                print(told, flush=True)
    body = tables(given, found, told)
    print(body)
    replace_section(given.docs, given.section, body)


def tables(given: argparse.Namespace, found: Found, told: str = "") -> str:
    gains, additions = [], []
    for ratio, runs in found.items():
        taken = {name: [1e3 * one.seconds for one in runs[name]] for name in runs}
        times = {name: spread(taken[name]) for name in runs}
        thought = spread([one.predicted / one.seconds for one in runs["planned"]], 3)
        wanted, added = (ratio + 1) / 2, 1 + 1 / ratio
        gain, more = (
            [one / other for one, other in zip(taken[name], taken["planned"], strict=True)]
            for name in ("even", "alone")
        )
        reached = [f"{median(gain) / wanted:.1%}", f"{median(more) / added:.1%}"]
        worked = [
            sum(share / (1 if device == FAST else ratio) for device, share in one.busy.items()) / added
            for one in runs["planned"]
        ]
        gains.append(
            [f"{ratio:g}", times["even"], times["planned"], spread(gain, 3), f"{wanted:.2f}", reached[0], thought]
        )
        additions.append(
            [f"{ratio:g}", times["alone"], times["planned"], spread(more, 3), f"{added:.3f}", reached[1],
             spread([100 * share for share in worked], 1)]
        )  # fmt: skip
    return f"""## Unlike devices

`{command(__file__)}`

{machine()}.
Data {shown(str(given.data))}; {given.blocks} blocks {given.width} wide, float32, {given.batch_size} examples a step in
{given.micro_batches} micro-batches, {given.steps} steps a run of which the first five are left out, without spares and
copies; means of a step, and of these medians (extremes) of {given.rounds} rounds. Two Ray nodes of one CPU, which sleep
after every action until it has taken {given.slowdown:g} times as long, and {given.slowdown:g} r times. Both sit on one
machine, where two processes that compute at once slow each other, which the plan does not know of two nodes. How fast
the machine is changes from one run to the next.

An even split against the plan. If all units were infinitely fine, planning would gain (r + 1) / 2; an even split by
blocks leaves the slow device the head as well.

{table(["r", "even, ms", "planned, ms", "gain", "(r + 1) / 2", "reached", "predicted / measured"], gains)}

The fast device alone against both. Two devices cannot add more than 1 + 1 / r: what is above that is the machine's
doing, and as much may be missing where it is below. *Worked*: the part of the steps that each device worked in the runs
of both, of which the slow one's counts 1 / r, over 1 + 1 / r. It is of one run, so that the machine's speed is not in
it, and it counts as work what the two slow each other by.

{table(["r", "alone, ms", "both, ms", "gain", "1 + 1 / r", "reached", "worked, %"], additions)}

{f"A device {USELESS} times slower is not used. What the plan says of it: {told}" if told else ""}
"""


def plans(blocks: int) -> Mapping[str, dict[str, Any]]:
    """Settings of `plan` by name."""
    half = blocks // 2
    first = {f"bert.encoder.layer.{n}": FAST for n in range(half)}
    second = {f"bert.encoder.layer.{n}": SLOW for n in range(half, blocks)}
    return {
        "even": {"place": {"embeddings": FAST, **first, **second, "head": SLOW}},
        "planned": {},
        "alone": {"at_most": {SLOW: 0}},
    }


class Bench:
    def __init__(self, folder: Path, model: Path, given: argparse.Namespace) -> None:
        self._folder, self._model, self._given = folder, model, given
        self._runs = 0

    def run(self, plan: Mapping[str, Any]) -> Ran:
        self._runs += 1
        given = self._given
        output = self._folder / f"run-{self._runs}"
        config = {
            "run": {"name": "uneven", "output": str(output)},
            "model": {"source": str(self._model)},
            "data": {split: str(given.data / f"{split}.conll") for split in ("train", "dev")},
            "train": {
                "batch_size": given.batch_size,
                "micro_batches": given.micro_batches,
                "max_steps": given.steps,
            },
            "plan": {"stages": "auto", "schedule": "auto", **plan},
            # No spare that starts beside the first steps and takes a core from them.
            "recovery": {"tries": 0},
            "track": {"uri": f"sqlite:///{self._folder}/mlflow.db", "system_metrics": False},
        }
        settings = Config.model_validate(config)
        train(settings)
        summary, steps = steps_of(output, settings.track.uri)
        devices = [stage["device"] for stage in summary["plan"]["stages"]]
        busy = {device: fmean(step.busy[j] for step in steps) for j, device in enumerate(devices)}
        return Ran(seconds(steps), predicted(steps), busy, " ".join(summary["plan"]["left_out"]))


@contextmanager
def pair(ratio: float, slowdown: float = 1) -> Iterator[None]:
    """A Ray of two nodes with one CPU each: the first slowed so many times, the second one `ratio` times that."""
    fast, slow = (
        {"motley.device": name, "motley.slowdown": f"{slowdown * times:g}"}
        for name, times in ((FAST, 1.0), (SLOW, ratio))
    )
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "labels": fast})
    try:
        cluster.add_node(num_cpus=1, labels=slow)
        ray.init(address=cluster.address, log_to_driver=False)
        yield
    finally:
        ray.shutdown()
        cluster.shutdown()


def write_model(folder: Path, blocks: int, width: int) -> Path:
    """Random weights, heads of 32 as in MiniLM, and its tokenizer."""
    from transformers import AutoConfig, AutoTokenizer, BertModel

    source = locate(MINILM)
    sizes = {"hidden_size": width, "intermediate_size": 4 * width, "num_attention_heads": width // 32}
    BertModel(AutoConfig.from_pretrained(source, num_hidden_layers=blocks, **sizes)).save_pretrained(folder)
    AutoTokenizer.from_pretrained(source).save_pretrained(folder)
    return folder


if __name__ == "__main__":
    main()
