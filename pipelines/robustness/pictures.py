"""The pictures of a perturbation test."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipelines.report.pictures import BLUE, GREY, INK, ORANGE
from pipelines.robustness.flips import Flips, Robustness

MOST_LABELS = 30
"""Labels in a picture: those that flip most often."""
FEWEST = 5
"""How often a label must be said for its share of flips to be shown."""


def overview_figure(found: Robustness) -> Figure:
    """Of each perturbation the share that flips with its interval, and the score beside the one without any."""
    ranked = sorted(found.flips, key=lambda one: -(one.share.score if one.share else -1))
    figure = Figure(figsize=(9.2, 1.1 + 0.4 * len(ranked)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for y, one in enumerate(ranked):
        if one.share is not None:
            left.barh(y, one.share.score, height=0.62, color=BLUE)
            left.plot([one.share.low, one.share.high], [y, y], color=INK, linewidth=1.2)
            label = f"{one.share.score:.1%}"
            left.annotate(label, (max(one.share.score, one.share.high), y), (5, 0), textcoords="offset points",
                          va="center", fontsize=8, color=INK)  # fmt: skip
        right.plot([found.score, one.score], [y, y], color=GREY, linewidth=1.6, zorder=1)
        right.plot(one.score, y, color=ORANGE, marker="o", markersize=7)
        # On the side that the line to the usual score does not take.
        side = 1 if one.score > found.score else -1
        right.annotate(
            f"{one.score:.3f}", (one.score, y), (7 * side, 0), textcoords="offset points",
            ha="left" if side > 0 else "right", va="center", fontsize=8, color=INK,
        )  # fmt: skip
    left.set_yticks(range(len(ranked)), [one.name for one in ranked])
    left.set_ylim(len(ranked) - 0.5, -0.5)
    left.set_xlabel(f"share of {found.of_what} that flip")
    left.margins(x=0.16)
    left.set_xlim(left=0)
    right.axvline(found.score, color=GREY, linestyle="--", linewidth=1)
    right.set_xlabel(f"{found.score_name}; without perturbation {found.score:.3f}")
    right.margins(x=0.22)
    for panel in (left, right):
        panel.grid(axis="x", color="#E4E4E4", linewidth=0.8)
        panel.set_axisbelow(True)
        panel.spines[["top", "right", "left"]].set_visible(False)
        panel.tick_params(colors=INK)
        panel.tick_params(axis="y", length=0)
    return figure


def labels_figure(found: Robustness) -> Figure:
    """Labels against perturbations: the share of what was said of each label that flips."""
    ranked, labels = found.flips, shown_labels(found.flips)
    cell = 0.5 if len(labels) <= 12 else 0.32
    longest = max(len(label) for label in labels) * 0.09
    figure = Figure(figsize=(longest + 2.2 + 0.75 * len(ranked), 1.7 + cell * len(labels)), layout="constrained")
    axes: Axes = figure.subplots()
    shares = [[_share(one, label) for one in ranked] for label in labels]
    filled = [[0.0 if share is None else share for share in row] for row in shares]
    image = axes.imshow(filled, cmap="Blues", vmin=0, vmax=max(0.05, *map(max, filled)), aspect="auto")
    for y, row in enumerate(shares):
        for x, share in enumerate(row):
            text = "" if share is None else f"{share:.0%}"
            dark = share is not None and share > 0.6 * image.get_clim()[1]
            axes.text(x, y, text, ha="center", va="center", fontsize=8, color="white" if dark else INK)
    axes.set_xticks(range(len(ranked)), [one.name for one in ranked], rotation=40, ha="right")
    axes.set_yticks(range(len(labels)), labels)
    axes.tick_params(length=0, colors=INK)
    axes.spines[:].set_visible(False)
    figure.colorbar(image, ax=axes, label="share that flips", shrink=0.9, aspect=20, pad=0.02)
    return figure


def shown_labels(flips: Sequence[Flips]) -> list[str]:
    """Of many labels those that flip most often."""
    totals: dict[str, tuple[int, int]] = {}
    for one in flips:
        for label, counts in one.labels.items():
            flipped, said = totals.get(label, (0, 0))
            totals[label] = flipped + counts.flipped, said + counts.said
    ranked = sorted(
        (label for label, (_, said) in totals.items() if said >= FEWEST),
        key=lambda label: -totals[label][0] / totals[label][1],
    )
    return ranked[:MOST_LABELS]


def _share(one: Flips, label: str) -> float | None:
    counts = one.labels.get(label)
    return None if counts is None or counts.said < FEWEST else counts.rate
