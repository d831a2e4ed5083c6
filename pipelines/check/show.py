"""A check's report as a person wants to see it."""

from __future__ import annotations

import math

from rich.console import Console
from rich.table import Table

from pipelines.check.compare import Report
from pipelines.train.device import Peak


def show(report: Report, console: Console) -> None:
    """Print what was checked, what each stage holds, and how far the cut model is from the plain one."""
    console.print(
        f"{report.model}: {report.model_class}, task {report.task}, weights in {report.dtype}", highlight=False
    )
    if report.adapter is not None:
        console.print(
            f"With the adapter {report.adapter}: {report.num_trained:,} of {report.num_weights:,} weights are trained."
        )
    silenced = f"; it was not in {', '.join(report.silenced)}" if report.silenced else ""
    console.print(f"Every probability of dropout and the like is 0, for plain and cut to be alike{silenced}.")
    stages = Table("stage", title=f"Cut into {len(report.stages)} stages")
    stages.add_column("first unit", overflow="fold")
    stages.add_column("last unit", overflow="fold")
    for header in ("units", "parameters", "bytes held"):
        stages.add_column(header, justify="right")
    for s in report.stages:
        numbers = (f"{n:,}" for n in (s.num_units, s.num_parameters, s.num_bytes))
        stages.add_row(str(s.stage), s.first, s.last, *numbers)
    console.print(stages)
    console.print(_memory(report))
    if any(s.memory.train.since_start for s in report.stages):
        console.print("This system counts peaks from a process's start: none is below the one before it.")
    found = Table("", "difference", title="Cut against plain: the largest relative difference")
    # Never shortened: a parameter's name is of no use without its end.
    found.add_column("where", overflow="fold")
    found.add_column("bound")
    found.add_column("")
    for d in report.differences:
        largest = f"{d.largest:.1e}" if math.isfinite(d.largest) else "missing or not a number"
        found.add_row(d.what, largest, d.where, f"{d.bound:.0e}", "ok" if d.ok else "DIFFERS")
    console.print(found)
    steps = f"{report.steps} step{'s' if report.steps != 1 else ''} of {report.num_micro_batches} micro-batches"
    console.print(f"{steps}; losses {', '.join(f'{loss:.6f}' for loss in report.losses)}.", highlight=False)
    if report.wider_for_float32:
        console.print("The model computes in float32 inside, whatever its weights are: the bounds are wider for it.")
    if report.weights_left_out:
        console.print(
            f"{report.weights_left_out:,} of {report.num_weights:,} weights were not compared after the updates: their "
            "gradient is nothing but rounding, and AdamW makes a whole step of it."
        )


def _memory(report: Report) -> Table:
    table = Table("stage", title="Most memory of each stage's process, MB")
    for header in ("before the model", "held of the model", "peak loading", "peak training"):
        table.add_column(header, justify="right")
    table.add_column("device", overflow="fold")
    for s in report.stages:
        held, peaks = f"{s.num_bytes / 1e6:,.1f}", map(_megabytes, (s.memory.load, s.memory.train))
        table.add_row(str(s.stage), _megabytes(s.memory.start), held, *peaks, s.device)
    return table


def _megabytes(peak: Peak) -> str:
    gpu = "" if peak.device is None else f" + GPU {peak.device / 1e6:,.1f}"
    return f"{peak.host / 1e6:,.1f}{gpu}"
