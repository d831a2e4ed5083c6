"""Pictures of a run, as PNG files.

Figures are made without pyplot: it would choose a backend, and keep every figure, for the whole process.
The colours are Okabe and Ito's, which people who do not see all colours can tell apart.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from pipelines.train.events import Event, Kind, StageReport

BLUE, ORANGE, GREEN, PURPLE, GREY = "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#8A8A8A"
INK = "#222222"
COLOURS: Mapping[Kind, str] = {"forward": BLUE, "backward": ORANGE, "weights": GREEN, "update": PURPLE}
TEXT_COLOURS: Mapping[Kind, str] = {"forward": "white", "backward": INK, "weights": "white", "update": INK}
DPI = 130
MOST_SHARES_IN_TITLE = 8


def loss_curve(
    path: str | os.PathLike[str],
    steps: Sequence[int],
    losses: Sequence[float],
    learning_rates: Sequence[float],
    dev_scores: Mapping[int, float],
    *,
    score_name: str = "dev F1",
) -> None:
    """Loss and learning rate of every step, and the score (0 to 1) after the steps in `dev_scores`.

    Raises:
        ValueError: `steps`, `losses` and `learning_rates` differ in length.
    """
    _save(path, loss_figure(steps, losses, learning_rates, dev_scores, score_name=score_name))


def confusion_matrix(path: str | os.PathLike[str], names: Sequence[str], matrix: Sequence[Sequence[int]]) -> None:
    """What was (rows) against what was predicted (columns): counts, coloured by their share of the row.

    Raises:
        ValueError: `matrix` has not one row and one column for each name.
    """
    _save(path, confusion_figure(names, matrix))


def timeline(path: str | os.PathLike[str], reports: Sequence[StageReport]) -> None:
    """What every stage did in one step: a lane a stage, a bar an action; where there is no bar, it waited.

    Lanes of stages on different machines are only as aligned as those machines' clocks.

    Raises:
        ValueError: no report, or reports of different steps.
    """
    _save(path, timeline_figure(reports))


def loss_figure(
    steps: Sequence[int],
    losses: Sequence[float],
    learning_rates: Sequence[float],
    dev_scores: Mapping[int, float],
    *,
    score_name: str = "dev F1",
) -> Figure:
    if not len(steps) == len(losses) == len(learning_rates):
        raise ValueError(
            f"Every step needs its loss and learning rate: there are {len(steps)} steps, {len(losses)} losses, "
            f"{len(learning_rates)} learning rates."
        )
    heights = [3.0, *([1.8] if dev_scores else []), 1.1]
    figure = Figure(figsize=(9, sum(heights) + 0.9), layout="constrained")
    panels = list(figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0])
    top, bottom = panels[0], panels[-1]
    many = len(steps) > 40
    top.plot(
        steps, losses, color=BLUE, linewidth=0.8 if many else 1.6, alpha=0.35 if many else 1, label="loss of a step"
    )
    if many:
        window = max(2, len(steps) // 20)
        top.plot(steps, _smooth(losses, window), color=BLUE, linewidth=2, label=f"smoothed over about {window} steps")
        top.legend(frameon=False, loc="upper right")
    top.set_ylabel("training loss")
    if dev_scores:
        middle = panels[1]
        where = sorted(dev_scores)
        scores = [dev_scores[step] for step in where]
        middle.plot(where, scores, color=ORANGE, marker="o", markersize=5, linewidth=1.6)
        for step, score in zip(where, scores, strict=True) if len(where) <= 12 else ():
            middle.annotate(f"{score:.3f}", (step, score), (0, 6), textcoords="offset points", ha="center", fontsize=8)
        middle.set_ylabel(score_name)
        middle.margins(y=0.25)
    bottom.plot(steps, learning_rates, color=GREEN, linewidth=1.6)
    bottom.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
    bottom.set_ylabel("learning rate")
    bottom.set_xlabel("step")
    bottom.xaxis.set_major_locator(MaxNLocator(integer=True))
    for panel in panels:
        _plain(panel)
        panel.grid(axis="y", color="#E4E4E4", linewidth=0.8)
    figure.align_ylabels(panels)
    return figure


def confusion_figure(names: Sequence[str], matrix: Sequence[Sequence[int]]) -> Figure:
    size = len(names)
    if len(matrix) != size or any(len(row) != size for row in matrix):
        raise ValueError(f"{size} names need a matrix of {size} rows and columns.")
    # Cells shrink with their number, but not below what a count of four characters needs.
    cell = 0.62 if size <= 10 else 0.5 if size <= 18 else 0.4
    side = max(2.4, size * cell)
    longest = max(len(name) for name in names) * 0.09
    figure = Figure(figsize=(side + longest + 1.7, side + longest + 0.9), layout="constrained")
    axes = figure.subplots()
    totals = [sum(row) for row in matrix]
    shares = [[count / total if total else 0.0 for count in row] for row, total in zip(matrix, totals, strict=True)]
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for y, row in enumerate(matrix):
        for x, count in enumerate(row):
            if count:
                colour = "white" if shares[y][x] > 0.55 else INK
                text = _short(count)
                points = min(11, side / size * (19 if len(text) < 4 else 16))
                axes.text(x, y, text, ha="center", va="center", color=colour, fontsize=points)
    axes.set_xticks(range(size), names, rotation=90 if longest > cell else 0)
    axes.set_yticks(range(size), names)
    axes.set_xticks([x - 0.5 for x in range(1, size)], minor=True)
    axes.set_yticks([y - 0.5 for y in range(1, size)], minor=True)
    axes.grid(which="minor", color="#E4E4E4", linewidth=0.6)
    axes.tick_params(which="both", length=0)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    figure.colorbar(image, ax=axes, label="share of the row", shrink=0.8, aspect=30, pad=0.02)
    return figure


def timeline_figure(reports: Sequence[StageReport]) -> Figure:
    if not reports:
        raise ValueError("A timeline needs at least one stage's report.")
    steps = sorted({report.step for report in reports})
    if len(steps) > 1:
        raise ValueError(f"A timeline shows one step; these reports are of the steps {', '.join(map(str, steps))}.")
    lanes = sorted(reports, key=lambda report: report.stage)
    wide = timeline_width(lanes)
    figure = Figure(figsize=(wide, 1.5 + 0.55 * len(lanes)), layout="constrained")
    axes = figure.subplots()
    length, shares = draw_lanes(axes, lanes, wide * 0.9)
    axes.set_title(f"Step {steps[0]}: {length * 1e3:,.0f} ms, {_in_words(shares)}", loc="left", color=INK)
    add_legend(figure, lanes)
    return figure


def timeline_width(lanes: Sequence[StageReport]) -> float:
    """Inches: wide enough for the numbers of the micro-batches, within what a screen can show."""
    return min(24.0, max(12.0, 0.3 * max(len(report.events) for report in lanes)))


def draw_lanes(axes: Axes, lanes: Sequence[StageReport], inches: float) -> tuple[float, list[float]]:
    """Draw a lane for each report on `axes`, which are so wide.

    Returns:
        The seconds from the first action to the end of the last, and the share of them that each stage was busy.
    """
    events = [event for report in lanes for event in report.events]
    begin = min((event.start for event in events), default=0.0)
    length = max((event.end for event in events), default=0.0) - begin
    shares = [report.busy / length if length else 0.0 for report in lanes]
    for lane, report in enumerate(lanes):
        axes.axhspan(lane - 0.4, lane + 0.4, color="#F3F3F3", linewidth=0, zorder=0)
        for event in report.events:
            _draw_event(axes, lane, event, begin, inches / (length or 1))
    axes.set_yticks(
        range(len(lanes)), [f"stage {r.stage}  {share:.0%}" for r, share in zip(lanes, shares, strict=True)]
    )
    axes.set_ylim(len(lanes) - 0.5, -0.5)
    axes.set_xlim(0, length * 1e3 or 1)
    axes.set_xlabel("ms since the step's first action")
    _plain(axes)
    axes.tick_params(axis="y", length=0)
    return length, shares


def add_legend(figure: Figure, lanes: Sequence[StageReport]) -> None:
    """What the colours of these lanes mean."""
    seen = {event.kind for report in lanes for event in report.events}
    handles = [Patch(color=COLOURS[kind], label=kind) for kind in COLOURS if kind in seen]
    figure.legend(
        handles=[*handles, Patch(color="#F3F3F3", label="waiting")], loc="outside lower center", ncols=5, frameon=False
    )


def _draw_event(axes: Axes, lane: int, event: Event, begin: float, inches_per_second: float) -> None:
    left, width = (event.start - begin) * 1e3, (event.end - event.start) * 1e3
    axes.barh(lane, width, left=left, height=0.8, color=COLOURS[event.kind], edgecolor="white", linewidth=0.6)
    if event.micro_batch is None:
        return
    text = str(event.micro_batch)
    # What does not fit even in small digits goes without its number.
    inches = (event.end - event.start) * inches_per_second / len(text)
    if inches >= 0.07:
        points = 9 if inches >= 0.11 else 6
        colour = TEXT_COLOURS[event.kind]
        axes.text(left + width / 2, lane, text, ha="center", va="center", fontsize=points, color=colour)


def _in_words(shares: Sequence[float]) -> str:
    if len(shares) > MOST_SHARES_IN_TITLE:
        return f"busy {min(shares):.0%} to {max(shares):.0%}"
    return "busy " + " / ".join(f"{share:.0%}" for share in shares)


def _smooth(values: Sequence[float], window: int) -> list[float]:
    """Each value's mean with up to `window // 2` on either side, as many before as after, so that nothing lags."""
    means = []
    for i in range(len(values)):
        half = min(window // 2, i, len(values) - 1 - i)
        # A loss that is not a number would blank the curve as far as the window reaches.
        near = [value for value in values[i - half : i + half + 1] if math.isfinite(value)]
        means.append(sum(near) / len(near) if near else math.nan)
    return means


def _short(count: int) -> str:
    """At most four characters: 9999, 12k, 345k, 1.2M."""
    if count < 10_000:
        return str(count)
    return f"{count / 1e3:.0f}k" if count < 999_500 else f"{count / 1e6:.1f}M"


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(GREY)
    axes.tick_params(colors=INK)


def _save(path: str | os.PathLike[str], figure: Figure) -> None:
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DPI)
