"""Useful tokens per second of Motley and of what people use today, side by side.

    python -m tests.bench.throughput [--data FOLDER] [--steps 105] [--rounds 3]

Each round runs every method in turn, each in its own process on all cores, so that a ratio compares neighbours in
time; every other round runs backwards, so that a machine that slows down favours nobody. 105 steps: 5 of warm-up and
then whole pools of the Trainer's sampler (50 batches, longest first), so that no method sees longer sentences.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.bench import runs
from tests.bench.inputs import MINILM
from tests.bench.tables import BENCHMARKS, ROOT, command, machine, replace_section, shown, spread, table

Rounds = list[dict[str, dict[str, Any]]]

MICRO_BATCHES = {"float32": 4, "bfloat16": 2}
"""Pieces of a batch: a micro-batch costs every layer a fixed time, which weighs more where products take less."""

PAIRS = [
    ("motley float32", "script float32"),
    ("motley float32", "longest float32"),
    ("motley float32", "trainer float32"),
    ("motley bfloat16", "script float32"),
    ("motley bfloat16", "trainer bfloat16"),
    ("motley bfloat16, 1 stage", "trainer bfloat16"),
]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT / ".data" / "addresses", help="train, dev and test .conll")
    parser.add_argument("--model", default=MINILM)
    parser.add_argument("--steps", type=int, default=105)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--stages", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", help="some of the methods, such as 'script float32'")
    parser.add_argument("--docs", type=Path, default=BENCHMARKS)
    parser.add_argument("--section", default="throughput", help="the marked section of the docs to write")
    return parser.parse_args()


def methods(given: argparse.Namespace) -> dict[str, Callable[[], dict[str, Any]]]:
    def plain(method: str, precision: str) -> dict[str, Any]:
        return runs.plain(
            method,
            given.data,
            given.model,
            steps=given.steps,
            seed=given.seed,
            precision=precision,
            batch_size=given.batch_size,
        )

    def motley(precision: str, *, stages: int, cpus: int, micro_batches: int) -> dict[str, Any]:
        summary = runs.motley(
            given.data,
            given.model,
            stages=stages,
            cpus=cpus,
            seed=given.seed,
            max_steps=given.steps,
            epochs=1000,  # max_steps ends the run
            precision=precision,
            batch_size=given.batch_size,
            micro_batches=micro_batches,
        )
        speed = runs.figure(summary, "throughput.useful_tokens_per_second")
        padding = runs.figure(summary, "data.train.padding_waste")
        return {**summary["throughput"], "useful_tokens_per_second": speed, "padding_waste": padding}

    def cut(precision: str) -> dict[str, Any]:
        return motley(precision, stages=given.stages, cpus=1, micro_batches=MICRO_BATCHES[precision])

    known: dict[str, Callable[[], dict[str, Any]]] = {
        "script float32": lambda: plain("script", "float32"),
        "longest float32": lambda: plain("longest", "float32"),
        "trainer float32": lambda: plain("trainer", "float32"),
        "motley float32": lambda: cut("float32"),
        "trainer bfloat16": lambda: plain("trainer", "bfloat16"),
        "motley bfloat16": lambda: cut("bfloat16"),
        "motley bfloat16, 1 stage": lambda: motley("bfloat16", stages=1, cpus=given.stages, micro_batches=1),
    }
    if unknown := set(given.only or ()) - set(known):
        raise SystemExit(f"There is no method {sorted(unknown)}; there are {', '.join(known)}.")
    return {name: run for name, run in known.items() if name in (given.only or known)}


def measure(given: argparse.Namespace) -> Rounds:
    rounds: Rounds = []
    for turn in range(given.rounds):
        results: dict[str, dict[str, Any]] = {}
        chosen = list(methods(given).items())
        for name, run in chosen if turn % 2 == 0 else reversed(chosen):
            begin = time.perf_counter()
            results[name] = run()
            speed = results[name]["useful_tokens_per_second"]
            spent = time.perf_counter() - begin
            print(f"round {turn + 1}: {name:24s} {speed:8,.0f} tokens/s ({spent:.0f} s)", flush=True)
        rounds.append(results)
    return rounds


def report(rounds: Rounds, given: argparse.Namespace) -> str:
    def cell(name: str, key: str, form: str) -> str:
        """What a run says of its batches is the same in every round."""
        value = rounds[0][name].get(key)
        return "" if value is None else format(value, form)

    def ratios(ours: str, theirs: str) -> Sequence[float]:
        return [r[ours]["useful_tokens_per_second"] / r[theirs]["useful_tokens_per_second"] for r in rounds]

    names = list(methods(given))
    speeds = table(
        ["method", "useful tokens/s", "useful tokens a step", "padding"],
        [
            [
                name,
                spread([r[name]["useful_tokens_per_second"] for r in rounds]),
                cell(name, "useful_tokens_per_step", ".0f"),
                cell(name, "padding_waste", ".1%"),
            ]
            for name in names
        ],
    )
    pairs = [(ours, theirs) for ours, theirs in PAIRS if ours in names and theirs in names]
    compared = table(
        ["compared within a round", "times as fast"],
        [[f"{ours} / {theirs}", spread(ratios(ours, theirs), 2)] for ours, theirs in pairs],
    )
    return f"""## Throughput on {given.data.resolve().name}

`{command(__file__)}`

{machine()}.
Model {shown(given.model)}, batches of {given.batch_size}, {given.steps} steps of which the first 5 are not measured,
Motley with {given.stages} stages of one CPU, {MICRO_BATCHES["float32"]} micro-batches in float32 and
{MICRO_BATCHES["bfloat16"]} in bfloat16; *1 stage*: one stage that has all of these CPUs, and no micro-batches; medians
(extremes) of {given.rounds} rounds.
*script*: every sentence padded to 128, a plain loop; *longest*: the same, padded to the longest of a random batch;
*trainer*: Hugging Face Trainer, `train_sampling_strategy="group_by_length"`, fused AdamW. Useful tokens are sub-words
that are not padding.

{speeds}

{compared if pairs else ""}
"""


def main() -> None:
    given = arguments()
    rounds = measure(given)
    body = report(rounds, given)
    print(body)
    replace_section(given.docs, given.section, body)
    print(f"Written to {given.docs}, section {given.section!r}.")


if __name__ == "__main__":
    main()
