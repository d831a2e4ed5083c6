"""What a model's blocks are worth, and what is left of it without some of them, as a picture."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipelines.compress.compress import Compressed
from pipelines.compress.layers import Worth
from pipelines.compress.show import draw_panels
from pipelines.report.pictures import BLUE, DPI, GREY, INK


def draw(path: Path, worth: Worth, forms: Compressed) -> None:
    """Write the picture to a PNG file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure = Figure(figsize=(12, 5.8), layout="constrained")
    grid = figure.add_gridspec(2, 1)
    above, below = figure.add_subfigure(grid[0]), figure.add_subfigure(grid[1])
    rounds = above.subplots(1, len(worth.rounds), sharey=True, squeeze=False)[0]
    for number, axes in enumerate(rounds):
        draw_round(axes, worth, number)
    rounds[0].set_ylabel("rise of the loss")
    above.suptitle("without each block, and those that went before", fontsize=10, color=INK)
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
