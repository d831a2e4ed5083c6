"""What the schedules come to in the simulation, and how the synthesised one compares.

python -m tests.bench.schedules [--instances 200]
"""

from __future__ import annotations

import argparse
import random
from dataclasses import replace
from pathlib import Path
from statistics import median

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot

from pipelines.plan.list_scheduling import Rule, list_schedule
from pipelines.plan.lower_bound import least_seconds
from pipelines.plan.pipeline import Costs, Memory, Pipeline
from pipelines.plan.rules import backward_first
from pipelines.plan.schedules import SCHEDULES, make_schedule
from pipelines.plan.simulate import Simulated, fits, simulate
from pipelines.plan.weight_parts import weight_parts
from tests.bench.tables import BENCHMARKS, command, replace_section, table

FUSED = "1f1b, fused"
"""1F1B as in PipeDream and Megatron: the stage before waits for the weight gradients too."""
COLOURS = {"forward": "#4c78a8", "backward": "#f58518", "weights": "#54a24b"}
Ratio = tuple[float, float, float]
ISSUE: Ratio = (10.0, 12.0, 8.0)


def around(chance: random.Random, value: float, by: float, number: int) -> tuple[float, ...]:
    return tuple(value * chance.uniform(1 - by, 1 + by) for _ in range(number))


def unequal(
    chance: random.Random, ratio: Ratio, by: float, stage_of: tuple[int, ...], m: int, *, balanced: bool = False
) -> Pipeline:
    """Every time of every chunk, and every micro-batch, up to `by` more or less than the mean; seconds.

    `balanced`: all stages have the same work, and it is only differently divided.
    """
    n, p = len(stage_of), max(stage_of) + 1
    each = [around(chance, value * p / n / 1000, by, n) for value in ratio]
    if balanced:
        scale = [sum(ratio) * p / n / 1000 / sum(parts) for parts in zip(*each, strict=True)]
        each = [tuple(value * s for value, s in zip(values, scale, strict=True)) for values in each]
    edges = (0.0002,) * (n - 1)
    costs = Costs(*each, update=(0.002,) * p, latency=edges, activations=edges, gradients=edges)
    memory = Memory((10_000_000 * p // n,) * n, (6_000_000 * p // n,) * n)
    return Pipeline(stage_of, replace(costs, sizes=around(chance, 1.0, by, m)), memory)


def fused(pipeline: Pipeline, m: int) -> Simulated:
    """The order of 1F1B with the weight gradients in the backward."""
    costs, memory = pipeline.costs, pipeline.memory
    assert costs is not None
    assert memory is not None
    both = tuple(b + w for b, w in zip(costs.backward, costs.weights, strict=True))
    none = (0.0,) * len(both)
    like = replace(costs, backward=both, weights=none)
    at_once = replace(pipeline, costs=like, memory=replace(memory, noted=(0,) * len(both)))
    return simulate(make_schedule("1f1b", pipeline, m), at_once)


def waits(result: Simulated) -> float:
    """Seconds that the busiest stage waits in a step."""
    return result.seconds * result.bubble


def compared(pipeline: Pipeline, m: int) -> str:
    results = {FUSED: fused(pipeline, m)}
    results |= {name: simulate(make_schedule(name, pipeline, m), pipeline) for name in SCHEDULES}
    rows = [
        [
            name,
            f"{result.seconds * 1000:.1f}",
            f"{result.bubble:.1%}",
            f"{sum(result.idle) / len(result.idle):.1%}",
            f"{max(result.peak_bytes) / 1e6:.0f}",
        ]
        for name, result in results.items()
    ]
    rows.append(["no schedule below", f"{least_seconds(pipeline, m) * 1000:.1f}", "", "", ""])
    return table(["schedule", "step, ms", "bubble", "all stages idle", "most memory, MB"], rows)


def claim(name: str, pipelines: list[Pipeline], m: int, *, limit: float | None = None) -> list[str]:
    """One row: the synthesised schedule against 1F1B, fused, under `limit` times its memory on every stage."""
    shares, bubbles, reachable, gaps, never_slower = [], [], [], [], 0
    for pipeline in pipelines:
        base = fused(pipeline, m)
        if limit is not None:
            assert pipeline.memory is not None
            most = (int(limit * max(base.peak_bytes)),) * pipeline.num_stages
            pipeline = replace(pipeline, memory=replace(pipeline.memory, limit=most))
        results = {name: simulate(make_schedule(name, pipeline, m), pipeline) for name in SCHEDULES}
        mine = results["synthesised"]
        least = least_seconds(pipeline, m)
        work = mine.seconds - waits(mine)
        shares.append(waits(mine) / waits(base))
        bubbles.append(mine.bubble / base.bubble)
        reachable.append((least - work) / waits(base))
        gaps.append(mine.seconds / least - 1)
        others = [r.seconds for r in results.values() if fits(r, pipeline)]
        never_slower += mine.seconds <= min(others) * (1 + 1e-6)
    third = 1 / 3 + 1e-9
    return [
        name,
        f"{median(shares):.2f} ({min(shares):.2f}-{max(shares):.2f})",
        f"{median(bubbles):.2f}",
        f"{sum(s <= third for s in shares)}",
        f"{sum(r <= third for r in reachable)}",
        f"{median(gaps):.2%} ({max(gaps):.2%})",
        f"{never_slower} of {len(pipelines)}",
    ]


def parts_table(chance: random.Random) -> str:
    """How much later a step ends than it could, by the parts of the weight gradients."""
    rows = []
    for p, m in ((4, 8), (4, 16), (8, 16), (4, 32), (8, 32)):
        pipelines = [unequal(chance, ISSUE, 0.1, tuple(range(p)), m) for _ in range(20)]
        row = [f"{p} stages, {m} micro-batches"]
        for parts in (tuple(range(m)), weight_parts(m), (m - 2, m - 1)):
            over = []
            for pipeline in pipelines:
                costs = pipeline.costs
                assert costs is not None
                schedule = list_schedule(pipeline, m, costs, Rule(backward_first), parts)
                over.append((simulate(schedule, pipeline).seconds + max(costs.update)) / least_seconds(pipeline, m) - 1)
            row.append(f"{len(parts)}: {sum(over) / len(over):.2%}")
        rows.append(row)
    return table(["", "one micro-batch each", "as they are", "all but the last, and the last"], rows)


def draw(pipeline: Pipeline, m: int, path: Path) -> None:
    """The time lines of three schedules, below each other."""
    figure, axes = pyplot.subplots(3, 1, figsize=(9, 4.6), sharex=True, layout="constrained")
    for axis, name in zip(axes, (FUSED, "zero-bubble", "synthesised"), strict=True):
        schedule = make_schedule("1f1b" if name == FUSED else name, pipeline, m)
        result = fused(pipeline, m) if name == FUSED else simulate(schedule, pipeline)
        for j, (actions, spans) in enumerate(zip(schedule, result.times, strict=True)):
            for action, (start, end) in zip(actions, spans, strict=True):
                if action.kind != "update" and end > start:
                    left, width = 1000 * start, 1000 * (end - start)
                    axis.barh(j, width, 0.9, left, color=COLOURS[action.kind], edgecolor="white", linewidth=0.5)
                    axis.text(left + width / 2, j, str(action.micro_batch), ha="center", va="center", fontsize=5)
        axis.set_title(f"{name}: {1000 * result.seconds:.0f} ms", fontsize=8, loc="left")
        axis.invert_yaxis()
        axis.set_yticks(range(pipeline.num_stages))
        axis.tick_params(labelsize=7)
        axis.set_ylabel("stage", fontsize=7)
    axes[-1].set_xlabel("ms; blue: forward, orange: backward, green: weight gradients", fontsize=7)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)
    pyplot.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--instances", type=int, default=200, help="random pipelines for each row of the second table")
    parser.add_argument("--docs", type=Path, default=BENCHMARKS)
    given = parser.parse_args()
    chance = random.Random(1)
    row = (0, 1, 2, 3)
    shown = {
        "4 equal stages, 8 micro-batches": (unequal(chance, ISSUE, 0.0, row, 8), 8),
        "4 stages, 8 micro-batches, up to 10 % unequal": (unequal(chance, ISSUE, 0.1, row, 8), 8),
        "4 stages with 2 chunks each, going round": (unequal(chance, ISSUE, 0.1, row * 2, 8), 8),
        "2 stages, 12 chunks in turn (attention here, feed-forward there)": (
            unequal(chance, ISSUE, 0.1, (0, 1) * 6, 8),
            8,
        ),
        "16 stages, 64 micro-batches": (unequal(chance, ISSUE, 0.1, tuple(range(16)), 64), 64),
    }
    tables = "\n\n".join(f"**{name}**\n\n{compared(*pipeline)}" for name, pipeline in shown.items())
    draw(*shown["4 stages, 8 micro-batches, up to 10 % unequal"], given.docs.parent / "pictures" / "schedules.png")

    def many(ratio: Ratio, by: float, *, balanced: bool = False) -> list[Pipeline]:
        return [unequal(chance, ratio, by, row, 8, balanced=balanced) for _ in range(given.instances)]

    ten = many(ISSUE, 0.1)
    claims = [
        claim("10:12:8, 5 %", many(ISSUE, 0.05), 8),
        claim("10:12:8, 10 %", ten, 8),
        claim("10:12:8, 20 %", many(ISSUE, 0.2), 8),
        claim("10:12:8, 10 %, stages balanced", many(ISSUE, 0.1, balanced=True), 8),
        claim("10:15:10, 10 %", many((10.0, 15.0, 10.0), 0.1), 8),
        claim("10:8.5:7.5, 10 %", many((10.0, 8.5, 7.5), 0.1), 8),
        claim("10:12:8, 10 %, 2 x memory", ten, 8, limit=2.0),
        claim("10:12:8, 10 %, 1.5 x memory", ten, 8, limit=1.5),
        claim("10:12:8, 10 %, 1 x memory", ten, 8, limit=1.0),
    ]
    body = f"""## Schedules, simulated

`{command(__file__)}`

No machine is measured here: times are given, `pipelines/plan/simulate.py` says what a step comes to. The bubble is the
part of a step that the busiest stage waits, which is all that a better schedule could save; where stages are equal it
is the usual one. `{FUSED}` is 1F1B as elsewhere, with the weight gradients in the backward. A stage takes about 10 ms
for a forward, 12 for a backward and 8 for the weight gradients of a micro-batch, a message 0.4, the update 2; a
micro-batch keeps 10 MB a stage from forward to backward, and 6 MB until the weight gradients.

{tables}

![Three schedules of the second pipeline](pictures/schedules.png)

**The synthesised schedule with 4 stages and 8 micro-batches**: {given.instances} random pipelines for each row, with
the given ratio of forward, backward and weight gradients; every time of every stage, and every micro-batch, up to so
much more or less. *Wait* is what the busiest stage waits in a step, over what it waits with `{FUSED}`: the median and
the extremes. *Bubbles* is the same for the bubble, a part of a step that has itself become shorter. *At most a third*
counts pipelines by their wait, and *possible* those where the bound allows that: no stage begins before the first
micro-batch reaches it, and all wait for the global norm, so that p equal stages wait (p - 1) forwards at least. *Over
the bound* is the step over what none can beat (`pipelines/plan/lower_bound.py`), which knows nothing of limits of
memory. These are multiples of what `{FUSED}` holds on its fullest stage, for every stage.

{table(["pipelines", "wait", "bubbles", "at most a third", "possible", "over the bound", "never slower"], claims)}

**Parts of the weight gradients** (`pipelines/plan/weight_parts.py`): their number, and how much later than the bound a
step ends, mean of 20 pipelines that are up to 10 % unequal.

{parts_table(chance)}
"""
    print(body)
    replace_section(given.docs, "schedules", body)


if __name__ == "__main__":
    main()
