"""Runs the parts of a run again when something was lost on the way: lost actors are replaced, lost steps replayed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from cluster.data_crew import DataCrew
from cluster.fleet import Fleet, Start, Work
from cluster.phases import Phases
from cluster.roll_call import Lost
from cluster.waiting import ActorLost
from pipelines.recovery_settings import RecoveryConfig
from pipelines.report.observer import Observer, Recovery

LOSSES = (ActorLost, TimeoutError)
"""What an actor that is gone, or does not answer, makes whoever waits for it raise."""
Result = TypeVar("Result")


class Recovering:
    """One run's losses.

    In the synchronous mode a replayed step computes what it computed before, bit by bit, so that a run ends as if
    nothing had been lost.
    """

    def __init__(
        self,
        fleet: Fleet,
        data: DataCrew,
        config: RecoveryConfig,
        observer: Observer,
        *,
        start: Callable[[], Start],
        works: Callable[[int, int], Iterator[Work]],
        done: Callable[[], int],
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """
        Args:
            start: the newest state that is on disk.
            works: the steps from one to another.
            done: how many steps are done.
            check: raises NodesLost when the actors cannot be placed as they were.
        """
        self._fleet, self._data, self._config, self._observer = fleet, data, config, observer
        self._start, self._works, self._done, self._check = start, works, done, check
        self._losses, self._last = 0, -1

    def run(self, part: Callable[[], Result]) -> Result:
        """What `part` returns; after a loss all is made as it was before the part, and it begins again.

        A part goes on from the steps that are done, and does nothing else that could not be done twice.

        Raises:
            ActorLost, TimeoutError: more losses in a row than `recovery.tries`, with no step between them.
            NodesLost: nodes are gone, and the actors cannot be placed as they were: another plan is needed.
        """
        while True:
            try:
                return part()
            except LOSSES as error:
                self._recover(error)

    def _recover(self, error: Exception) -> None:
        why, lost = error, list[Lost]()
        clock = Phases()
        while True:
            self._count(error)
            try:
                lost += self._data.replace_lost(self._config.silence)
                self._check()
                lost += self._fleet.replace_lost(self._config.silence)
                clock.end("found")
                rejoined = self._fleet.rejoin(self._start())
                clock.end("rejoined")
                for _ in self._fleet.run(self._works(rejoined.version, self._done())):
                    pass
                clock.end("replayed")
            except LOSSES as again:
                # Begun again, with what it took until then counted as finding out.
                clock.end("found")
                error = again
                continue
            break
        seconds = {"found": clock.seconds["found"], **rejoined.seconds, "replayed": clock.seconds["replayed"]}
        names, spared = [one.who for one in lost], [one.who for one in lost if one.by_spare]
        self._observer.recovered(Recovery(str(why), names, spared, self._done(), rejoined.version, seconds))

    def _count(self, error: Exception) -> None:
        done = self._done()
        self._losses = self._losses + 1 if done == self._last else 1
        self._last = done
        if self._losses > self._config.tries:
            if self._config.tries == 0:
                raise error
            raise type(error)(
                f"{error} That was loss {self._losses} in a row, with no step between them (recovery.tries)."
            ) from error
