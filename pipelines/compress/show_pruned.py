"""By what was chosen what is left of a model, and what that costs, as a picture."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipelines.compress.compress import Compressed
from pipelines.compress.layers import Worth
from pipelines.compress.narrow import Narrowed
from pipelines.compress.prune import Left, Pruned
from pipelines.compress.show import draw_panels
from pipelines.compress.thin import Thinned
from pipelines.report.pictures import BLUE, DPI, GREY, INK
from pipelines.report.summary import write_json


def write_report(out: Path, found: Pruned) -> None:
    """Write pruned.png and report.json to the folder `out`."""
    draw(out / "pruned.png", found.left, found.forms)
    write_json(out / "report.json", found.to_json())


def draw(path: Path, left: Left, forms: Compressed) -> None:
    """Write the picture to a PNG file: a line for the blocks, one for what is inside of them, one for the forms."""
    path.parent.mkdir(parents=True, exist_ok=True)
    inside = {"neurons": left.neurons, "groups of heads": left.heads, "weights": left.weights}
    fewer = {name: one for name, one in inside.items() if one is not None}
    lines = 1 + (left.layers is not None) + bool(fewer)
    figure = Figure(figsize=(12, 2.9 * lines), layout="constrained")
    grid = figure.add_gridspec(lines, 1)
    *above, below = (figure.add_subfigure(grid[line]) for line in range(lines))
    if left.layers is not None:
        first = above.pop(0)
        rounds = first.subplots(1, len(left.layers.rounds), sharey=True, squeeze=False)[0]
        for number, axes in enumerate(rounds):
            draw_round(axes, left.layers, number)
        rounds[0].set_ylabel("rise of the loss")
        first.suptitle("without each block, and those that went before", fontsize=10, color=INK)
    if fewer:
        panels = above[0].subplots(1, len(fewer), squeeze=False)[0]
        for axes, (name, one) in zip(panels, fewer.items(), strict=True):
            draw_fewer(axes, name, one)
    draw_panels(below, forms)
    figure.savefig(path, dpi=DPI)


def draw_round(axes: Axes, worth: Worth, number: int) -> None:
    """A bar a block that was still there, by how much the loss rises; the one that goes is grey."""
    losses, goes = worth.rounds[number], worth.dropped[number]
    for block, loss in losses.items():
        axes.bar(str(block), loss - worth.whole, color=GREY if block == goes else BLUE)
    axes.set_title(f"{goes} goes", fontsize=10, color=INK)
    axes.set_xlabel("block")
    axes.spines[["top", "right"]].set_visible(False)


def draw_fewer(axes: Axes, name: str, found: Narrowed | Thinned) -> None:
    """A bar a block, by how much of the importance stays; a line where it would end if all were as important."""
    shares = [100 * share for share in found.stays.values()]
    axes.bar([str(number) for number in range(len(shares))], shares, color=BLUE)
    axes.axhline(100 * found.after / found.before, color=GREY, linestyle="--")
    axes.set_ylim(0, 100)
    axes.set_title(f"importance of the {found.after:,} {name} of {found.before:,} that stay, %", fontsize=10, color=INK)
    axes.set_xlabel("block")
    axes.spines[["top", "right"]].set_visible(False)
