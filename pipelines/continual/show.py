"""What was forgotten, as a table and as a picture."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.table import Table

from pipelines.continual.forgetting import Learnt
from pipelines.report.pictures import BLUE, DPI, GREEN, GREY, INK, ORANGE, PURPLE

COLOURS = (BLUE, ORANGE, GREEN, PURPLE, GREY)


def table_of(found: Learnt) -> Table:
    """A line a run, a column a set, and what was forgotten below."""
    table = Table(title=f"{found.score_name} on test, method {found.method}", title_justify="left")
    table.add_column("after", no_wrap=True)
    for name in found.sets:
        table.add_column(name, justify="right")
    for name, scores in zip(found.sets, found.after, strict=False):
        missing = len(found.sets) - len(scores)
        table.add_row(name, *(f"{score:.4f}" for score in scores), *[""] * missing)
    table.add_section()
    lost = [f"{score:.4f}" for score in found.forgotten]
    table.add_row("forgotten", *lost, *[""] * (len(found.sets) - len(lost)))
    table.caption = f"forgetting {found.forgetting:.4f}, mean score {found.mean_score:.4f}"
    return table


def draw(path: str | os.PathLike[str], found: Sequence[Learnt]) -> None:
    """A panel a result, in it a line a set: its score after the run that learnt it, and after every one since."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure_of(found).savefig(path, dpi=DPI)


def figure_of(found: Sequence[Learnt]) -> Figure:
    widest = max(len(one.sets) for one in found)
    figure = Figure(figsize=(1.2 + (1 + 1.2 * widest) * len(found), 4), layout="constrained")
    panels = figure.subplots(1, len(found), sharey=True, squeeze=False)[0]
    for axes, one in zip(panels, found, strict=True):
        _lines(axes, one)
    panels[0].set_ylabel(f"{found[0].score_name} on test")
    panels[0].legend(frameon=False, loc="lower left")
    return figure


def _lines(axes: Axes, found: Learnt) -> None:
    for s, name in enumerate(found.sets):
        runs = range(s, len(found.after))
        scores = [found.after[k][s] for k in runs]
        # There may be more sets than colours: then the marker tells them apart.
        marker = "osD^v"[s // len(COLOURS) % 5]
        axes.plot(list(runs), scores, color=COLOURS[s % len(COLOURS)], marker=marker, linewidth=1.8, label=name)
    axes.set_xticks(range(len(found.sets)), [f"after {name}" for name in found.sets])
    axes.set_ylim(0, 1.02)
    axes.set_title(f"{found.method}: forgetting {found.forgetting:.3f}", loc="left", color=INK)
    axes.grid(axis="y", color="#E4E4E4", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=INK)
