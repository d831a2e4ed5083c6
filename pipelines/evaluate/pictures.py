"""The pictures of an evaluation."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from pipelines.evaluate.calibration import Calibration
from pipelines.evaluate.evaluation import Slice
from pipelines.report.pictures import BLUE, GREY, INK, ORANGE

MOST = 30
"""Slices of one kind in a picture: the worst ones."""


def calibration_figure(found: Calibration) -> Figure:
    """Confidence against the share of right predictions, with how many predictions there are of each confidence."""
    figure = Figure(figsize=(5.2, 5.2), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    top.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle="--", label="as often right as it says")
    top.plot(
        [one.confidence for one in found.bins], [one.right for one in found.bins],
        color=BLUE, marker="o", linewidth=1.6, label="this model",
    )  # fmt: skip
    top.set_ylabel("share that is right")
    top.set_ylim(0, 1.02)
    top.legend(frameon=False, loc="upper left")
    bottom.bar(
        [(one.low + one.high) / 2 for one in found.bins], [one.count for one in found.bins], width=0.09, color=ORANGE
    )
    bottom.set_ylabel("predictions")
    bottom.set_xlabel("confidence")
    bottom.set_xlim(0, 1)
    for panel in (top, bottom):
        panel.spines[["top", "right"]].set_visible(False)
        panel.tick_params(colors=INK)
    return figure


def slices_figure(slices: Sequence[Slice], score_name: str) -> Figure:
    """A line a slice: the score, and between what it lies in 95 of 100 draws."""
    shown = list(slices)[:MOST]
    figure = Figure(figsize=(8, 0.8 + 0.34 * len(shown)), layout="constrained")
    axes = figure.subplots()
    places = range(len(shown))
    for y, one in zip(places, shown, strict=True):
        axes.plot([one.score.low, one.score.high], [y, y], color=BLUE, linewidth=2)
        axes.plot(one.score.score, y, color=BLUE, marker="o")
        rows = f"{one.score.rows:,} rows"
        axes.annotate(rows, (1.02, y), xycoords=("axes fraction", "data"), va="center", fontsize=8)
    axes.set_yticks(list(places), [one.name for one in shown])
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.set_xlabel(score_name)
    axes.grid(axis="x", color="#E4E4E4", linewidth=0.8)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    return figure
