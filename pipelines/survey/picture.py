"""The lengths and labels of a data set, as a picture."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from pipelines.report.pictures import BLUE, GREY, INK, ORANGE, PURPLE
from pipelines.survey.survey import Survey

COLOURS = {"train": BLUE, "dev": ORANGE, "test": PURPLE}
MOST_LABELS = 30
BINS = 40
DPI = 130


def save_survey_picture(path: Path, found: Survey) -> None:
    """Draw the lengths of each split, with the longest that the model is given, and how often each label occurs."""
    figure = survey_figure(found)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DPI, format="png")


def survey_figure(found: Survey) -> Figure:
    labels = sorted(
        {label for split in found.splits.values() for label in split.labels},
        key=lambda label: (-sum(split.labels[label] for split in found.splits.values()), label),
    )[:MOST_LABELS]
    heights = [3.4, *([0.9 + 0.24 * len(labels)] if labels else [])]
    figure = Figure(figsize=(9, sum(heights) + 0.4), layout="constrained")
    panels = figure.subplots(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    top = panels[0]
    there = {name: split.lengths for name, split in found.splits.items() if split.lengths}
    longest = max((max(lengths) for lengths in there.values()), default=1)
    edges = [1 + longest * i / BINS for i in range(BINS + 1)]
    for name, lengths in there.items():
        # Shares, so that splits of unlike size can be compared.
        weights = [1 / len(lengths)] * len(lengths)
        label = f"{name}: {len(lengths):,} examples"
        top.hist(lengths, edges, weights=weights, histtype="step", linewidth=1.6, color=COLOURS[name], label=label)
    if longest >= found.longest:
        top.axvline(found.longest, color=GREY, linestyle="--", linewidth=1)
        top.annotate("longest input", (found.longest, 0.97), xycoords=("data", "axes fraction"), ha="right", fontsize=8)
    top.set_xlabel("sub-words of an example")
    top.set_ylabel("share of the split")
    if there:
        top.legend(frameon=False)
    if labels:
        bottom, height = panels[1], 0.8 / len(found.splits)
        for number, (name, split) in enumerate(found.splits.items()):
            total = max(1, split.labels.total())
            places = [y + (number - (len(found.splits) - 1) / 2) * height for y in range(len(labels))]
            shares = [split.labels[label] / total for label in labels]
            bottom.barh(places, shares, height, color=COLOURS[name], label=name)
        bottom.set_yticks(range(len(labels)), [_short(label) for label in labels])
        bottom.set_ylim(len(labels) - 0.4, -0.6)
        bottom.set_xlabel("share of the split's labels")
    for panel in panels:
        panel.spines[["top", "right"]].set_visible(False)
        panel.tick_params(colors=INK)
    return figure


def _short(label: str) -> str:
    # Dollars would open a formula.
    return (label if len(label) <= 24 else label[:23] + "…").replace("$", r"\$")
