"""A plan as people look at it: a table with bars in the terminal, and a PNG."""

from __future__ import annotations

import os
from collections.abc import Sequence

from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipelines.plan.actions import Action
from pipelines.plan.choose import Choice
from pipelines.plan.plan import Plan, StagePlan
from pipelines.report.pictures import BLUE, DPI, GREY, INK, add_legend, draw_lanes, timeline_width
from pipelines.report.plan_table import shares_line
from pipelines.train.events import Event, StageReport

BAR = 8
"""Characters of a full bar."""
MIB, GIB = 2**20, 2**30


def _size(number: int) -> str:
    return f"{number / GIB:.1f} GiB" if number >= GIB else f"{number / MIB:,.0f} MiB"


def show_plan(plan: Plan, console: Console) -> None:
    """Print it: one line a stage, and what was left out."""
    table = Table(title="Plan", title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))
    several = len(plan.replicas) > 1
    for name in ("replica.stage" if several else "stage", "device", "node", "units", "busy", "memory"):
        table.add_column(name, overflow="fold", no_wrap=name in {"busy", "memory"})
    for label, stage in zip(_labels(plan), plan.stages, strict=True):
        table.add_row(
            label,
            stage.device,
            (stage.node or "any")[:8],
            span(stage),
            _bar(stage.busy),
            _memory(stage),
        )
    console.print(table)
    if plan.seconds is not None:
        least = f", {plan.least}" if plan.least else ""
        console.print(f"predicted: {plan.seconds:.3f} s a step{least}, schedule {plan.schedule}", highlight=False)
    if several and plan.shares is not None:
        console.print(shares_line(plan.shares), highlight=False)
    for line in (plan.why, *plan.left_open, *plan.left_out, plan.instead):
        if line is not None:
            console.print(line, highlight=False)


def _labels(plan: Plan) -> list[str]:
    """Of each stage its number, behind that of its replica where there are several."""
    several = len(plan.replicas) > 1
    return [
        f"{r}.{stage.stage}" if several else str(stage.stage)
        for r, cut in enumerate(plan.replicas)
        for stage in cut.stages
    ]


def span(stage: StagePlan) -> str:
    """The units of a stage in few words: `embeddings to layer.2`, or several such."""
    names = stage.units
    if len(stage.chunks) > 1:
        return f"{len(stage.chunks)} chunks, {names[0]} ... {names[-1]}"
    return names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"


def plan_figure(choice: Choice) -> Figure:
    """The predicted step, a lane a stage, over the memory of each device."""
    lanes = predicted_reports(choice)
    stages, labels = choice.plan.stages, _labels(choice.plan)
    wide, rows = timeline_width(lanes), len(stages)
    figure = Figure(figsize=(wide, 2.6 + 0.95 * rows), layout="constrained")
    top, bottom = figure.subplots(2, 1, height_ratios=[1.0 + 0.55 * rows, 0.6 + 0.4 * rows])
    length, _ = draw_lanes(top, lanes, wide * 0.8)
    top.set_yticks(range(rows), [f"{n}: {s.device}  {s.busy or 0:.0%}" for n, s in zip(labels, stages, strict=True)])
    top.set_title(
        f"Predicted step: {length * 1e3:,.0f} ms with {choice.plan.schedule} "
        f"(mean of all: {(choice.plan.seconds or length) * 1e3:,.0f} ms)",
        loc="left",
        color=INK,
    )
    limits = [(stage.limit or 0) / GIB for stage in stages]
    needs = [(stage.needs or 0) / GIB for stage in stages]
    bottom.barh(range(rows), limits, height=0.7, color="#F3F3F3", edgecolor=GREY, linewidth=0.6, label="there is")
    bottom.barh(range(rows), needs, height=0.7, color=BLUE, label="needed")
    for at, stage in enumerate(stages):
        bottom.text(0, at + 0.45, f" {span(stage)}", ha="left", va="top", fontsize=8, color=INK)
    bottom.set_yticks(range(rows), labels)
    bottom.set_ylim(rows - 0.3, -0.6)
    bottom.set_xlabel("memory, GiB")
    bottom.spines[["top", "right", "left"]].set_visible(False)
    # Above the bars, which may fill the whole width.
    bottom.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=2, fontsize=8)
    add_legend(figure, lanes)
    return figure


def save_plan_picture(path: str | os.PathLike[str], choice: Choice) -> None:
    """Write `plan_figure` as a PNG."""
    plan_figure(choice).savefig(path, dpi=DPI)


def predicted_reports(choice: Choice) -> list[StageReport]:
    """The simulated step, as stages would have reported it."""
    pairs = zip(choice.actions, choice.simulated.times, strict=True)
    return [StageReport(j, 0, _events(actions, times), None, 0.0, 0) for j, (actions, times) in enumerate(pairs)]


def _events(actions: Sequence[Action], times: Sequence[tuple[float, float]]) -> tuple[Event, ...]:
    return tuple(
        Event(action.kind, action.micro_batch, start, end, action.chunk)
        for action, (start, end) in zip(actions, times, strict=True)
    )


def _bar(share: float | None) -> Text:
    if share is None:
        return Text("?")
    full = round(BAR * min(1.0, share))
    return Text.assemble(("█" * full, "blue"), ("░" * (BAR - full), "bright_black"), f" {share:.0%}")


def _memory(stage: StagePlan) -> Text:
    if stage.needs is None or stage.limit is None:
        return Text("?")
    return _bar(stage.needs / max(1, stage.limit)) + Text(f" of {_size(stage.limit)}")
