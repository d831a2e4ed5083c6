"""How a run is going, while it goes, on stderr: a live panel on a terminal, plain lines anywhere else."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from rich.columns import Columns
from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

REFRESHES_PER_SECOND = 4
SECONDS_BETWEEN_LINES = 2.0
BAR_CELLS = 8
EIGHTHS = " ▏▎▍▌▋▊▉"


@dataclass(frozen=True, slots=True)
class _Numbers:
    step: int
    epoch: int
    loss: float
    tokens_per_second: float
    busy: tuple[float, ...]


class Progress:
    """Shows the newest step. `step()` only stores numbers; rich's own thread draws them four times a second.

    Without a terminal (CI, the log of a submitted job) it writes one plain line for the first step, the last
    one, and at most every two seconds between them, without control characters.
    """

    def __init__(
        self,
        total_steps: int,
        num_stages: int,
        start_step: int = 0,
        *,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`start_step` steps were done before (a resumed run). `clock` counts seconds."""
        self._total = total_steps
        self._num_stages = num_stages
        self._start_step = start_step
        self._console = Console(stderr=True) if console is None else console
        self._clock = clock
        self._began = clock()
        self._first: tuple[int, float] | None = None
        self._newest: _Numbers | None = None
        self._line_at: float | None = None
        self._seconds_left: float | None = None
        # A file that claims colours (FORCE_COLOR) is still a file, hence not `is_terminal` alone.
        self._live: Live | None = None
        if self._console.is_interactive and (console is not None or self._console.file.isatty()):
            self._live = Live(self, console=self._console, refresh_per_second=REFRESHES_PER_SECOND)

    def __enter__(self) -> Self:
        self._began = self._clock()
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def step(self, step: int, *, epoch: int, loss: float, tokens_per_second: float, busy: Sequence[float]) -> None:
        """Take note that `step` steps are done (1 after the first).

        `tokens_per_second` counts useful tokens, without padding; `busy` is each stage's share of the step (0 to 1)
        that it computed.

        Raises:
            ValueError: `busy` has not one share for each stage.
        """
        if len(busy) != self._num_stages:
            raise ValueError(f"There are {self._num_stages} stages but {len(busy)} busy shares.")
        now = self._clock()
        if self._first is None:
            self._first = (step, now)
        else:
            # From the end of the first step on: the first one warms up, and would make every estimate too long.
            steps, seconds = step - self._first[0], now - self._first[1]
            self._seconds_left = max(0, self._total - step) * seconds / steps if steps > 0 else None
        if step >= self._total:
            self._seconds_left = 0.0
        self._newest = _Numbers(step, epoch, loss, tokens_per_second, tuple(busy))
        if self._live is None and self._line_is_due(step, now):
            self._line_at = now
            self._print(self._line(self._newest))

    def move(self, num_stages: int) -> None:
        """There are so many stages from now on."""
        self._num_stages = num_stages

    def note(self, text: str) -> None:
        """Print `text` as it is, above the panel."""
        if self._live is None:
            self._print(text)
        else:
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _line_is_due(self, step: int, now: float) -> bool:
        return self._line_at is None or step >= self._total or now - self._line_at >= SECONDS_BETWEEN_LINES

    def _print(self, text: str) -> None:
        # Not console.print: rich would wrap at 80 columns and may colour.
        print(text, file=self._console.file, flush=True)

    def _line(self, numbers: _Numbers) -> str:
        busy = " ".join(f"{share:.0%}" for share in numbers.busy)
        return (
            f"step {numbers.step}/{self._total}  epoch {numbers.epoch}  loss {numbers.loss:.4f}  "
            f"{numbers.tokens_per_second:,.0f} tokens/s  busy {busy}  left {_duration(self._seconds_left)}"
        )

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        numbers = self._newest
        elapsed = f"elapsed {_duration(self._clock() - self._began)}"
        if numbers is None:
            yield Text(f"step {self._start_step}/{self._total}  waiting for the first step  {elapsed}")
            return
        figures = (
            f"epoch {numbers.epoch}  loss {numbers.loss:.4f}  {numbers.tokens_per_second:,.0f} tokens/s  "
            f"{elapsed}  left {_duration(self._seconds_left)}"
        )
        line = Table.grid(padding=(0, 1))
        line.add_row(
            Text(f"step {numbers.step}/{self._total}", style="bold"),
            ProgressBar(total=self._total, completed=numbers.step, width=24),
            Text(figures),
        )
        yield line
        digits = len(str(self._num_stages - 1))
        yield Columns(
            [
                Text.assemble(
                    f"stage {stage:>{digits}} ",
                    (_bar(share, options.ascii_only), "cyan"),
                    f" {share:>4.0%}",
                    no_wrap=True,
                )
                for stage, share in enumerate(numbers.busy)
            ],
            padding=(0, 3),
        )


def _bar(share: float, ascii_only: bool) -> str:
    eighths = round(min(1.0, max(0.0, share)) * BAR_CELLS * 8)
    if ascii_only:
        return ("#" * round(eighths / 8)).ljust(BAR_CELLS, ".")
    full, rest = divmod(eighths, 8)
    return ("█" * full + (EIGHTHS[rest] if rest else "")).ljust(BAR_CELLS)


def _duration(seconds: float | None) -> str:
    """`3:07` (minutes and seconds), `2:03:07` (with hours), or `?`."""
    if seconds is None:
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
