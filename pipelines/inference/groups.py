"""Who computes passes: workers in groups of like ones, and which group is to take the next pass.

waiting --+--> fast (free): takes it
          '--> slow (free): takes it if it is done with it before the fast ones were with all that waits
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.inference.former import Former
from pipelines.inference.pass_cost import PassCost

ENOUGH = 2.0
"""Full passes for each worker that wait before it is sent one beside the one that it has."""


class WorkerLost(Exception):
    """A worker ended in the middle of a pass; another may compute it."""


@dataclass(frozen=True, slots=True)
class Computed:
    """What a worker found."""

    outputs: Sequence[Any | None]
    """One for each input; None for one that the model failed on."""
    lengths: Sequence[int]
    """Sub-words of each input."""
    seconds: float
    """That the worker took."""
    worker: str
    """Its name."""


Run = Callable[[list[Any], tuple[str, ...]], Awaitable[Computed]]
"""Has a worker compute a pass, which belongs to these traces (`Parent.traceparent`). Raises WorkerLost."""


class Group:
    """Workers that are alike."""

    def __init__(
        self, run: Run, cost: PassCost, *, workers: Callable[[], int] = lambda: 1, ahead: float | None = None
    ) -> None:
        """
        Args:
            cost: of a pass, as measured on one of them.
            workers: how many there are now.
            ahead: seconds of work for each worker that wait before one is sent a pass beside the one that it has, for
                whoever counts passes to see how much there is to do. When left out, it is sent one when it ought to be
                done with that, or passes would stay full.
        """
        self.run, self.cost, self.workers = run, cost, workers
        self._ahead = ahead
        self._out: list[tuple[float, float]] = []
        """When each of the passes under way ought to be done and to begin, by what passes were measured to take; the
        next that is done first."""

    @property
    def num_out(self) -> int:
        """Passes that are being computed."""
        return len(self._out)

    def left(self, now: float) -> float:
        """Seconds that the workers together have still to compute."""
        return sum(max(0.0, due - max(begin, now)) for due, begin in self._out)

    def may_take(self, waiting: Former, *, now: float, lead: float, seconds_waiting: Callable[[], float]) -> bool:
        """Whether a worker of these is to be sent another pass.

        Args:
            lead: seconds by which a pass may be sent before its worker ought to be free.
            seconds_waiting: until all that waits is done.
        """
        workers = max(1, self.workers())
        if self.num_out < workers:
            return True
        if self.num_out >= 2 * workers:
            return False
        if self._ahead is not None:
            return seconds_waiting() >= self._ahead
        # What is to be done when a worker has done what it has can be on its way by then.
        done = bisect_right(self._out, now + lead, key=lambda one: one[0])
        # A worker that begins its next pass at once loses nothing, where so much waits that passes stay well filled.
        return done > self.num_out - workers or waiting.num_passes(self.cost) >= ENOUGH * workers

    def free_in(self, now: float) -> float:
        """Seconds until one of the workers can begin another pass."""
        behind = self.num_out - max(1, self.workers())
        return 0.0 if behind < 0 else max(0.0, self._out[behind][0] - now)

    def begin(self, seconds: float, now: float) -> float:
        """Count a pass that takes so long once a worker is free; returns when it ought to be done."""
        begin = now + self.free_in(now)
        insort(self._out, (begin + seconds, begin))
        return begin + seconds

    def end(self, due: float) -> None:
        """A pass is done, or lost."""
        del self._out[bisect_left(self._out, due, key=lambda one: one[0])]


class Groups:
    """All of them."""

    def __init__(self, groups: Sequence[Group], *, wait: float) -> None:
        """
        Args:
            wait: seconds that a request waits at most for others when a worker is free. Never longer than starting a
                pass takes: more is not to be saved.
        """
        self._groups, self._wait = tuple(groups), wait

    def lead(self, group: Group) -> float:
        """Seconds that a group's passes may wait for company, and may be sent ahead of time."""
        return min(self._wait, group.cost.fixed)

    def first(self, waiting: Former) -> Group:
        """The fastest of those that are there."""
        return self._fastest_first(waiting)[0]

    def seconds(self, waiting: Former) -> float:
        """What all workers together need for what waits."""
        if not len(waiting):
            return 0.0
        return 1 / sum(max(1, group.workers()) / waiting.seconds(group.cost) for group in self._present())

    def next(self, waiting: Former, now: float) -> Group | None:
        """Whose worker is to take the next pass; None while nobody's is."""
        if not len(waiting):
            return None
        rate = busy = 0.0
        for group in self._fastest_first(waiting):
            free = group.may_take(
                waiting, now=now, lead=self.lead(group), seconds_waiting=lambda: self.seconds(waiting)
            )
            # With what they have, the faster ones are done with all that waits in (1 + busy) / rate.
            if free and (not rate or group.free_in(now) + waiting.next_seconds(group.cost) <= (1 + busy) / rate):
                return group
            alone = waiting.seconds(group.cost)
            rate += max(1, group.workers()) / alone
            busy += group.left(now) / alone
        return None

    def _fastest_first(self, waiting: Former) -> Sequence[Group]:
        # By one worker's time, for whoever waits; in the order in which they were given where that is the same.
        present = self._present()
        return sorted(present, key=lambda group: waiting.seconds(group.cost)) if len(present) > 1 else present

    def _present(self) -> Sequence[Group]:
        # Where there is no worker at all, the first group gets one that starts for it.
        return [group for group in self._groups if group.workers()] or self._groups[:1]
