"""The forms of a model as a table, and as a picture."""

from __future__ import annotations

import json
from pathlib import Path

from matplotlib.figure import Figure, FigureBase
from rich.table import Table

from pipelines.compress.compress import Compressed
from pipelines.report.pictures import BLUE, DPI, GREEN, GREY, INK, ORANGE, PURPLE
from pipelines.report.summary import write_whole

COLOURS = (GREY, BLUE, GREEN, ORANGE, PURPLE)
MEGABYTE = 1e6


def table_of(found: Compressed) -> Table:
    """A line a form."""
    plural = "" if found.threads == 1 else "s"
    table = Table(title=f"forms of {found.plain.folder.name} on {found.threads} thread{plural}", title_justify="left")
    for name in ("form", "MB", f"{found.plain.score_name} lost, points", "ms alone", "sub-words/s", "speed", ""):
        table.add_column(name, justify="left" if name in ("form", "") else "right")
    plain = found.plain
    table.add_row(
        plain.name, f"{plain.bytes / MEGABYTE:.1f}", f"{100 * plain.score:.2f} (all)", f"{1000 * plain.latency:.1f}",
        f"{plain.tokens_per_second:,.0f}", "1.00", "what they were made of",
    )  # fmt: skip
    for one in found.verdicts:
        form, verdict = one.form, "accepted" if one.accepted else "refused"
        table.add_row(
            form.name, f"{form.bytes / MEGABYTE:.1f}", f"{100 * one.lost:.2f}", f"{1000 * form.latency:.1f}",
            f"{form.tokens_per_second:,.0f}", f"{one.speed:.2f}", f"{verdict}: {one.why}",
        )  # fmt: skip
    return table


def write_report(out: Path, found: Compressed) -> str:
    """Write forms.png and report.json to the folder `out`; returns the JSON."""
    out.mkdir(parents=True, exist_ok=True)
    figure_of(found).savefig(out / "forms.png", dpi=DPI)
    report = json.dumps(found.to_json(), indent=2)
    write_whole(out / "report.json", report)
    return report


def figure_of(found: Compressed) -> Figure:
    """Four panels, a bar a form: size, time of a row alone, sub-words a second, score."""
    figure = Figure(figsize=(11, 2.9), layout="constrained")
    draw_panels(figure, found)
    return figure


def draw_panels(figure: FigureBase, found: Compressed) -> None:
    """The panels of `figure_of`, into a figure or a part of one."""
    forms = [found.plain, *(one.form for one in found.verdicts)]
    panels = {
        "MB": [one.bytes / MEGABYTE for one in forms],
        "ms alone": [1000 * one.latency for one in forms],
        "sub-words/s": [one.tokens_per_second for one in forms],
        f"{found.plain.score_name}, of 100": [100 * one.score for one in forms],
    }
    for axes, (name, values) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        bars = axes.bar([one.name for one in forms], values, color=COLOURS[: len(forms)])
        axes.bar_label(bars, [f"{value:,.1f}" if value < 1000 else f"{value:,.0f}" for value in values], color=INK)
        axes.set_title(name, fontsize=10, color=INK)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.set_yticks([])
        axes.margins(y=0.15)
