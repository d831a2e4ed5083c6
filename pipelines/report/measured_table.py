"""A measurement as a person wants to see it, while it goes on and when it is done."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from pipelines.plan.measured import Measured


class Measuring:
    """A bar for everything that is measured; plain lines where there is no terminal."""

    def __init__(self, console: Console) -> None:
        self._console, self._last = console, ""
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._progress = Progress(*columns, console=console) if console.is_terminal else None
        self._bars: dict[str, TaskID] = {}

    def __enter__(self) -> Measuring:
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def tell(self, what: str, done: int, total: int) -> None:
        """`done` of `total` parts of `what` are measured."""
        if self._progress is None:
            if what != self._last:
                self._console.print(f"measuring: {what}", markup=False, highlight=False, soft_wrap=True)
            self._last = what
            return
        if what not in self._bars:
            self._bars[what] = self._progress.add_task(what, total=total)
        self._progress.update(self._bars[what], completed=done, total=total)


def show(measured: Measured, console: Console) -> None:
    """Print milliseconds by unit and type of device, in the largest shape that was measured, and the ways."""
    for name, facts in [(kind.name, _facts(measured, kind.name)) for kind in measured.types]:
        console.print(f"{name}: {facts}", markup=False, highlight=False, soft_wrap=True)
    shape = max(
        (times.shape for kind in measured.types for times in kind.times), key=lambda shape: shape.rows * shape.width
    )
    title = f"{measured.model}, {shape.rows} rows of {shape.width} sub-words: forward + backward + weights (ms)"
    table = Table("unit", title=title)
    for kind in measured.types:
        table.add_column(kind.name, justify="right", overflow="fold")
    table.add_column("bytes held", justify="right")
    found = [measured.times_at(kind.name, shape) for kind in measured.types]
    rows: list[tuple[str, tuple[str, ...]]] = []
    for n, unit in enumerate(measured.units):
        cells = [" + ".join(f"{1e3 * part[n]:.2f}" for part in (t.forward, t.backward, t.weights)) for t in found]
        rows.append((unit, (*cells, f"{measured.held[n]:,}")))
    for name, row in _folded(rows):
        table.add_row(name, *row)
    stage = [f"{1e3 * times.stage_forward:.2f} + {1e3 * times.stage_backward:.2f}" for times in found]
    table.add_row("a pass, whatever the units", *stage, "")
    console.print(table)
    for link in measured.links:
        where = "within a node" if link.same_node else "from node to node"
        console.print(
            f"{' and '.join(link.ends)}, {where}: {link.latency * 1e6:,.0f} us, {link.bandwidth / 1e6:,.0f} MB/s",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )


def _facts(measured: Measured, name: str) -> str:
    kind = measured.type(name)
    rates = ""
    if len(kind.rates) > 1:
        rates = f"; {len(kind.rates)} of a node at once run at {kind.rates[-1]:.0%}"
    threads = f", {kind.threads} thread{'s' if kind.threads > 1 else ''}" if kind.kind == "cpu" else ""
    return f"{kind.chip}{threads}, {kind.precision}, {kind.memory / 2**30:.1f} GiB for a stage{rates}"


def _folded(rows: list[tuple[str, tuple[str, ...]]]) -> list[tuple[str, tuple[str, ...]]]:
    """Units that repeat as in a row of equal blocks, alternating or not, become one line with their number."""
    kinds: dict[tuple[str, ...], list[str]] = {}
    for name, cells in rows:
        kinds.setdefault(cells, []).append(name)
    return [(f"{names[0]} and {len(names) - 1} more" if len(names) > 1 else names[0], c) for c, names in kinds.items()]
