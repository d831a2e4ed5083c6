"""The one way to an answer: to the champion, to a candidate, and back to the champion where the candidate fails.

request --> champion ------------------------------> answer        no trial
request --> champion ------------------------------> answer        shadow
                 `..> challenger (aside, compared)
request --> challenger --(fails)--> champion ------> answer        share
                 `..> champion (aside, compared)
request --> champion --(fails)--> standby ---------> answer        watch: the former champion stands by

Who is asked is settled before the first `await`, so that a change takes effect between two requests: none is lost.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextvars import Context
from dataclasses import dataclass
from typing import Any

from pipelines.inference.batcher import Overloaded
from pipelines.inference.service import Answered
from pipelines.versions.agreement import agreement
from pipelines.versions.lane import Lane
from pipelines.versions.tally import Tally

MOST_ASIDE = 8
"""Requests that are asked aside at once, to compare; others are not compared, and counted."""


class Trial:
    """What a candidate and the champion show, from the trial's first request on."""

    def __init__(self, lane: Lane, share: float | None, began: float) -> None:
        self.lane, self.share, self.began = lane, share, began
        self.champion, self.challenger = Tally(), Tally()
        self.not_compared = 0
        """Requests that were not asked aside, because so many were already, or too much waits."""
        self._due = 0.0

    def its_turn(self) -> bool:
        """Whether the candidate answers the next request: of every N just as many as its share says."""
        if self.share is None:
            return False
        self._due += self.share
        # Sums of 0.1 fall short of 1.
        if self._due < 1 - 1e-9:
            return False
        self._due -= 1
        return True


@dataclass(frozen=True, slots=True)
class _Reply:
    """What a version made of a request; without outputs where it failed on all of it."""

    seconds: float
    outputs: list[Any | None]
    error: Exception | None = None

    @property
    def missing(self) -> frozenset[int]:
        return frozenset(i for i, output in enumerate(self.outputs) if output is None)

    @property
    def is_whole(self) -> bool:
        return self.error is None and None not in self.outputs


class Switch:
    """Belongs to one event loop; its methods but `answer` and `drained` take effect at once."""

    def __init__(
        self,
        champion: Lane,
        *,
        patience: float,
        clock: Callable[[], float] = time.monotonic,
        most_aside: int = MOST_ASIDE,
    ) -> None:
        """
        Args:
            patience: seconds after which a candidate, or a champion that is watched, has failed on a request, and the
                other version answers it. Give it more than what may wait before a model takes.
        """
        self._champion = champion
        self._standby: Lane | None = None
        self._trial: Trial | None = None
        self._patience, self._clock, self._most_aside = patience, clock, most_aside
        self._tally = Tally()
        self._inside: dict[Lane, int] = {}
        self._left = asyncio.Event()
        self._aside: set[asyncio.Task[None]] = set()

    @property
    def champion(self) -> Lane:
        return self._champion

    @property
    def standby(self) -> Lane | None:
        """The former champion, while the new one is watched."""
        return self._standby

    @property
    def trial(self) -> Trial | None:
        return self._trial

    @property
    def tally(self) -> Tally:
        """Of the champion, since it is that."""
        return self._tally

    def change(self, lane: Lane, *, standby: bool) -> None:
        """Make `lane` the champion; the former one stands by, or gets no more requests. A trial ends."""
        self._standby = self._champion if standby else None
        self._champion, self._trial, self._tally = lane, None, Tally()

    def dismiss(self) -> None:
        """The former champion gets no more requests."""
        self._standby = None

    def try_out(self, lane: Lane, share: float | None) -> None:
        """Begin a trial, from nothing: with a share of the requests, or in the champion's shadow."""
        self._trial = Trial(lane, share, self._clock())

    def end_trial(self) -> None:
        self._trial = None

    async def drained(self, lane: Lane) -> None:
        """Wait until nothing is in flight on a lane that gets no more requests."""
        while self._inside.get(lane, 0):
            self._left.clear()
            await self._left.wait()

    async def answer(self, inputs: list[Any]) -> Answered:
        """From one version, whichever is to answer this request.

        Raises:
            Overloaded: too much waits; nothing was done.
            Exception: the champion's, where no other version could answer either.
        """
        trial = self._trial
        if trial is None:
            return await self._by_champion(inputs, None)
        if trial.its_turn():
            return await self._by_challenger(inputs, trial)
        return await self._by_champion(inputs, trial)

    async def _by_champion(self, inputs: list[Any], trial: Trial | None) -> Answered:
        champion, tally = self._champion, self._tally
        reply = await self._ask(champion, inputs, None if self._standby is None else self._patience)
        if not reply.is_whole and (answered := await self._by_another(inputs, champion, reply)) is not None:
            tally.failed()
            return answered
        if reply.error is not None:
            raise reply.error
        tally.answered(reply.seconds)
        if trial is not None and trial.share is None:
            self._beside(trial, lambda: self._shadow(trial, inputs, reply))
        elif trial is not None:
            trial.champion.answered(reply.seconds)
        return Answered(champion.ref.version, reply.outputs)

    async def _by_another(self, inputs: list[Any], champion: Lane, reply: _Reply) -> Answered | None:
        """From the version that stands by, or that has become the champion meanwhile; None if it does no better."""
        lane = self._standby if self._champion is champion else self._champion
        if lane is None:
            return None
        try:
            other = await self._ask(lane, inputs)
        except Overloaded:
            return None
        if len(other.missing) >= len(reply.missing):
            return None
        return Answered(lane.ref.version, other.outputs)

    async def _by_challenger(self, inputs: list[Any], trial: Trial) -> Answered:
        try:
            reply = await self._ask(trial.lane, inputs, self._patience)
        except Overloaded:
            # No fault of the version; whether the request is refused is the champion's to say.
            return await self._by_champion(inputs, None)
        if reply.is_whole:
            trial.challenger.answered(reply.seconds)
            self._beside(trial, lambda: self._compare(trial, inputs, reply))
            return Answered(trial.lane.ref.version, reply.outputs)
        answered = await self._by_champion(inputs, None)
        self._failed_or_not(trial, reply, answered.outputs)
        return answered

    async def _shadow(self, trial: Trial, inputs: list[Any], champions: _Reply) -> None:
        """The candidate's answer to what the champion has answered."""
        reply = await self._ask(trial.lane, inputs, self._patience)
        # Times count in pairs: else the candidate would be asked only when little is asked.
        trial.champion.answered(champions.seconds)
        self._failed_or_not(trial, reply, champions.outputs)
        self._note_agreement(trial, champions, reply)

    async def _compare(self, trial: Trial, inputs: list[Any], challengers: _Reply) -> None:
        """The champion's answer to what the candidate has answered."""
        champion = self._champion
        reply = await self._ask(champion, inputs)
        self._note_agreement(trial, reply, challengers)

    def _failed_or_not(self, trial: Trial, reply: _Reply, champions: list[Any | None]) -> None:
        """What the champion cannot answer either is no failure of the candidate."""
        if any(champions[i] is not None for i in reply.missing):
            trial.challenger.failed()
        else:
            trial.challenger.answered(reply.seconds)

    def _note_agreement(self, trial: Trial, champions: _Reply, challengers: _Reply) -> None:
        pairs = zip(champions.outputs, challengers.outputs, strict=True)
        found = [agreement(one, other) for one, other in pairs if one is not None and other is not None]
        if found:
            trial.challenger.compared(sum(found) / len(found))

    def _beside(self, trial: Trial, work: Callable[[], Awaitable[None]]) -> None:
        """Without the request waiting for it."""
        if len(self._aside) >= self._most_aside:
            trial.not_compared += 1
            return

        async def guarded() -> None:
            # Between a request and this the trial may have ended, and its lane be closed.
            if self._trial is not trial:
                return
            try:
                await work()
            except Overloaded:
                trial.not_compared += 1

        # In a context of its own: the request that is compared is over before this is, and so is its trace.
        task = asyncio.get_running_loop().create_task(guarded(), context=Context())
        self._aside.add(task)
        task.add_done_callback(self._aside.discard)

    async def _ask(self, lane: Lane, inputs: list[Any], limit: float | None = None) -> _Reply:
        began = self._clock()
        self._inside[lane] = self._inside.get(lane, 0) + 1
        try:
            async with asyncio.timeout(limit):
                outputs = await lane.answer(inputs)
            if len(outputs) != len(inputs):
                raise RuntimeError(f"{len(outputs)} outputs of {len(inputs)} inputs")
            return _Reply(self._clock() - began, outputs)
        except Overloaded:
            raise
        # Whatever it is: another version may be able to answer, and if none is, it is raised in the end.
        except Exception as error:
            return _Reply(self._clock() - began, [None] * len(inputs), error)
        finally:
            self._inside[lane] -= 1
            if not self._inside[lane]:
                del self._inside[lane]
            self._left.set()
