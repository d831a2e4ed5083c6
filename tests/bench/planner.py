"""The planner against brute force, against the clock, and against simpler ways to split a model.

python -m tests.bench.planner [--instances 1000]
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from pipelines.plan.problem import Problem
from pipelines.plan.solve import best_pipeline
from tests.bench.instances import by_trying, large_problem, random_problem, seconds, uniform
from tests.bench.splits import SPLITS
from tests.bench.tables import BENCHMARKS, command, machine, replace_section, table


@dataclass(frozen=True)
class Model:
    """Relative forward times and parameters by unit; blocks in halves."""

    name: str
    forward: list[float]
    parameters: list[int]
    trained: list[int]
    frozen: bool = False

    @property
    def backward(self) -> list[float]:
        # Below the first trained unit nothing goes back.
        learnt, backward = False, []
        for value, size in zip(self.forward, self.trained, strict=True):
            learnt |= size > 0
            backward.append(value if learnt else 0.0)
        return backward

    @property
    def weights(self) -> list[float]:
        pairs = zip(self.forward, self.trained, self.parameters, strict=True)
        return [value * size / max(whole, 1) for value, size, whole in pairs]


def models() -> list[Model]:
    block, parameters = [1.6, 2.0], [2_360_000, 4_720_000]
    bert = [0.3, *block * 12, 0.1], [23_800_000, *parameters * 12, 600_000]
    tower = (
        [0.4, *block * 6, *[2.4, 2.0] * 6, 6.0],
        [31_000_000, *parameters * 6, *[4_720_000, 4_720_000] * 6, 31_000_000],
    )
    llama = [0.2, *[1.0, 2.0] * 16, 8.0], [262_000_000, *[10_500_000, 50_000_000] * 16, 262_000_000]
    lora = [0, *[50_000, 0] * 12, 600_000]
    return [
        Model("BERT-base", *bert, bert[1]),
        Model("encoder-decoder", *tower, tower[1]),
        Model("Llama 1B", *llama, llama[1]),
        Model("BERT-base, LoRA", *bert, lora),
    ]


MIXES = {
    "1 + 1, r = 2": ([1, 2], [1, 1]),
    "1 + 1, r = 3": ([1, 3], [1, 1]),
    "1 + 1, r = 5": ([1, 5], [1, 1]),
    "1 + 1, r = 8": ([1, 8], [1, 1]),
    "2 fast, 2 half, 4 CPUs": ([1, 2, 12], [2, 2, 4]),
    "4 types of 3": ([1, 1.5, 3, 6], [3, 3, 3, 3]),
}


def cases() -> Iterator[tuple[str, str, Problem, list[int]]]:
    for model in models():
        for mix, (slowness, counts) in MIXES.items():
            held = [4 * size + 12 * learnt for size, learnt in zip(model.parameters, model.trained, strict=True)]
            for tight in (False, True):
                # Room for 1.5 times the model in all devices together.
                room = int(1.5 * sum(held) / sum(counts)) + max(held)
                problem = uniform(
                    [value / 1000 for value in model.forward],
                    slowness,
                    counts,
                    micro_batches=16,
                    memory=[room] * len(counts) if tight else None,
                    held=held,
                    kept=[600_000] * len(held),
                    backward=[value / 1000 for value in model.backward],
                    weights=[value / 1000 for value in model.weights],
                    latency=2e-4,
                    per_byte=1e-9,
                    crossing=(393_216, 393_216),
                )
                yield model.name, mix + (", tight memory" if tight else ""), problem, model.trained


def against_brute_force(instances: int) -> str:
    chance = random.Random(1)
    gap, infeasible, wrong, took = 0.0, 0, 0, 0.0
    for _ in range(instances):
        problem = random_problem(chance)
        start = time.perf_counter()
        found = best_pipeline(problem)
        took += time.perf_counter() - start
        best = by_trying(problem)
        infeasible += best is None
        if found is None or best is None:
            wrong += (found is None) != (best is None)
            continue
        kept = seconds(problem, found.stages)
        wrong += kept is None
        gap = max(gap, abs((kept or float("inf")) / best - 1))
    return (
        f"{instances:,} random instances of up to 7 units and 4 devices of 3 types, with limits on memory, places and "
        f"cuts: {infeasible} of them have no plan. Largest gap to the best of all plans: {gap:.1e}. "
        f"Limits broken, or a plan missed: {wrong}. {1000 * took / instances:.1f} ms an instance."
    )


def against_the_clock() -> str:
    rows = []
    for kind, alike in (("blocks alike", True), ("all units and links different", False)):
        wall, cpu = [], []
        for seed in range(5):
            problem = large_problem(random.Random(seed), alike=alike)
            at, spent = time.perf_counter(), time.process_time()
            assert best_pipeline(problem) is not None
            wall.append(time.perf_counter() - at)
            cpu.append(time.process_time() - spent)
        rows.append([kind, *(f"{median(values):.2f} ({max(values):.2f})" for values in (wall, cpu))])
    return table(["100 units, 4 types of 16 devices", "s, median (longest)", "s of CPU"], rows)


def against_splits() -> tuple[str, int]:
    rows, worse = [], 0
    for model, mix, problem, trained in cases():
        found = best_pipeline(problem)
        ours = None if found is None else found.seconds
        row = [model, mix, "no plan" if ours is None else f"{1000 * ours:.0f}"]
        given = [k for k, count in enumerate(problem.count) for _ in range(count)]
        for split in SPLITS.values():
            tried = [split(problem, order, trained) for order in (given, given[::-1])]
            values = [value for stages in tried if stages and (value := seconds(problem, stages)) is not None]
            if not values:
                row.append("breaks memory")
                continue
            assert ours is not None
            worse += ours > min(values) * (1 + 1e-12)
            row.append(f"{min(values) / ours:.2f}")
        rows.append(row)
    return table(["model", "devices", "planned, ms", *(f"{name} / planned" for name in SPLITS)], rows), worse


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--instances", type=int, default=1000)
    parser.add_argument("--docs", type=Path, default=BENCHMARKS)
    parser.add_argument("--section", default="planner", help="the marked section of the docs to write")
    given = parser.parse_args()
    exact, clock = against_brute_force(given.instances), against_the_clock()
    splits, worse = against_splits()
    body = f"""## The planner

`{command(__file__)}`

{machine()}.

{exact}

{clock}

Against simpler splits (tests/bench/splits.py), by the planner's formula, 16 micro-batches. Every split puts all devices
to use; of the order given and the reverse the better is taken. *Tight memory*: the devices together have room for half
as much again as the model, and each for its largest unit more. The planner is worse in {worse} cases.

{splits}
"""
    print(body)
    replace_section(given.docs, given.section, body)


if __name__ == "__main__":
    main()
