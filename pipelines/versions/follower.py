"""The endpoint does what the registry says, and tells the registry what became of it.

            .-- read --> what is wanted --.
registry ---|                             |--> open, check, switch, drain, close
            '-- write <-- verdicts <------'<-- counts of the switch

At most two versions are loaded: the champion, and either a candidate on trial, or the former champion while the new one
is watched, or one that is just being opened.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

from pipelines.inference.registry import ModelRef
from pipelines.serve_settings import ServeConfig, TrialConfig
from pipelines.versions.golden import Failed, Golden, check, check_forms
from pipelines.versions.judge import facts, judge_trial, judge_watch
from pipelines.versions.lane import Lane, Lanes
from pipelines.versions.outbox import Outbox, told
from pipelines.versions.switch import Switch, Trial
from pipelines.versions.wanted import Registry, Wanted

logger = logging.getLogger(__name__)

ATTEMPTS = 3
"""To load a version, before it is refused: a store may be out of reach for a while."""
SECONDS_TO_OPEN = 900.0
SECONDS_TO_CHECK = 600.0
SECONDS_TO_DRAIN = 300.0
SECONDS_BETWEEN_SHOWS = 30.0
SECONDS_BETWEEN_JUDGEMENTS = 1.0


async def open_first(registry: Registry, lanes: Lanes) -> Lane:
    """The champion's lane; that of the version before it, where the champion is refused or cannot be loaded.

    Raises:
        Exception: what the first of them raised, if none can be loaded; UserError, if the registry cannot be read.
    """
    wanted = await asyncio.to_thread(registry.read)
    refs = [wanted.champion, *([wanted.previous] if wanted.previous else [])]
    first: Exception | None = None
    for ref in sorted(refs, key=lambda ref: ref.version in wanted.refused):
        try:
            return await lanes.open(ref)
        except Exception as error:
            logger.warning("Version %s of %s cannot be loaded: %s", ref.version, ref.name, told(error))
            first = first or error
    assert first is not None
    raise first


class Follower:
    """Of one endpoint; belongs to the switch's event loop."""

    def __init__(
        self,
        switch: Switch,
        registry: Registry,
        lanes: Lanes,
        golden: Callable[[ModelRef], Sequence[Golden]],
        settings: ServeConfig,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """
        Args:
            golden: the golden set for a version (`find_golden`); called in a thread.
            clock: the switch's.
        """
        self._switch, self._registry, self._lanes, self._golden = switch, registry, lanes, golden
        self._settings, self._clock, self._sleep = settings, clock, sleep
        self._gate, self._watched_since = settings.trial, clock()
        """Of the present trial or watch."""
        self._outbox = Outbox()
        self._attempts: Counter[str] = Counter()
        self._retiring: set[asyncio.Task[None]] = set()
        self._shown = clock()
        self._trouble: str | None = None

    async def run(self) -> None:
        """For ever, or not at all where `serve.follow_seconds` is 0."""
        if self._settings.follow_seconds > 0:
            # Two loops: a bad version must go while the registry is out of reach, too.
            await asyncio.gather(
                self._for_ever(self.look, self._settings.follow_seconds),
                self._for_ever(self.judge, SECONDS_BETWEEN_JUDGEMENTS),
            )

    async def look(self) -> None:
        """Tell the registry what it does not know yet, and do what it says."""
        trouble = await self._outbox.send()
        try:
            wanted = await asyncio.to_thread(self._registry.read, self._switch.champion.ref.version)
        except Exception as error:
            self._note(told(error))
            return
        self._note(trouble)
        await self._follow_champion(wanted)
        await self._follow_challenger(wanted)

    async def judge(self) -> None:
        """Look at the counts of a trial or a watch, and end it if they say so."""
        if self._switch.trial is not None:
            self._judge_trial(self._switch.trial)
        elif self._switch.standby is not None:
            self._judge_watch(self._switch.standby)

    async def settled(self) -> None:
        """Wait until every version that gets no more requests is closed."""
        await asyncio.gather(*self._retiring)

    async def _for_ever(self, work: Callable[[], Awaitable[None]], seconds: float) -> None:
        while True:
            try:
                await work()
            # The endpoint must not lose its way of being told for one fault: the next time begins afresh.
            except Exception:
                logger.exception("Following the registry failed; the endpoint goes on with what it serves.")
            await self._sleep(seconds)

    async def _follow_champion(self, wanted: Wanted) -> None:
        switch, ref, former = self._switch, wanted.champion, self._switch.champion
        if ref.version in {former.ref.version, *wanted.refused} or self._outbox.refuses(ref.version):
            return
        if switch.trial is not None and switch.trial.lane.ref.version == ref.version:
            self._take_over(switch.trial.lane, self._gate)
        elif switch.standby is not None and switch.standby.ref.version == ref.version:
            switch.change(switch.standby, standby=False)
            self._retire(former)
            logger.info("Version %s of %s is served again.", ref.version, ref.name)
        else:
            self._make_room()
            # Whoever moves the alias need not say what was there before.
            self._outbox.put("remember", ref.version, lambda: self._registry.remember(former.ref.version))
            if (lane := await self._opened(ref)) is not None:
                self._take_over(lane, self._settings.trial, watched=former.ref.version not in wanted.refused)

    def _take_over(self, lane: Lane, gate: TrialConfig, *, watched: bool = True) -> None:
        """Without a watch where the former champion was sent away: it must not come back."""
        if not watched:
            self._retire(self._switch.champion)
        self._switch.change(lane, standby=watched)
        self._gate, self._watched_since = gate, self._clock()
        logger.info("Version %s of %s is served.", lane.ref.version, lane.ref.name)

    async def _follow_challenger(self, wanted: Wanted) -> None:
        switch, found = self._switch, wanted.challenger
        if (trial := switch.trial) is not None:
            if found is not None and found.ref.version == trial.lane.ref.version:
                self._gate = found.gate
                if trial.share != found.share:
                    switch.try_out(trial.lane, found.share)
                return
            self._make_room()
        if found is None or switch.standby is not None or found.ref.version == switch.champion.ref.version:
            return
        if (why := wanted.refused.get(found.ref.version)) is not None:
            # Said once more, so that it is the candidate no longer.
            self._refuse(found.ref, why)
        elif not self._outbox.refuses(found.ref.version) and (lane := await self._opened(found.ref)) is not None:
            self._gate, self._shown = found.gate, self._clock()
            switch.try_out(lane, found.share)
            way = "in the champion's shadow" if found.share is None else f"with {found.share:g} of the requests"
            logger.info("Version %s of %s is tried %s.", found.ref.version, found.ref.name, way)

    def _judge_trial(self, trial: Trial) -> None:
        ref, seconds = trial.lane.ref, self._clock() - trial.began
        champion, challenger = trial.champion.counts, trial.challenger.counts
        verdict = judge_trial(champion, challenger, self._gate, seconds=seconds)
        if verdict.what == "refuse":
            self._make_room()
            self._refuse(ref, verdict.why)
        elif verdict.what == "promote" and self._gate.promote == "auto":
            self._outbox.put("promote", ref.version, lambda: self._registry.promote(ref.version, only_challenger=True))
        if verdict.what == "refuse" or self._clock() - self._shown >= SECONDS_BETWEEN_SHOWS:
            self._shown = self._clock()
            shown = facts(champion, challenger, verdict, seconds=seconds) | {"not_compared": trial.not_compared}
            self._outbox.put("show", ref.version, lambda: self._registry.show(ref.version, shown))

    def _judge_watch(self, standby: Lane) -> None:
        bad, seconds = self._switch.champion, self._clock() - self._watched_since
        verdict = judge_watch(self._switch.tally.counts, self._gate, seconds=seconds)
        if verdict.what == "keep":
            self._make_room()
        elif verdict.what == "refuse":
            self._switch.change(standby, standby=False)
            self._retire(bad)
            why, going, good = verdict.why, bad.ref.version, standby.ref.version
            self._outbox.put("roll back", going, lambda: self._registry.roll_back(why, version=going, to=good))
            logger.warning("Version %s of %s is served again, in place of %s: %s.", good, bad.ref.name, going, why)

    async def _opened(self, ref: ModelRef) -> Lane | None:
        """A lane that may get requests; None if that failed, and then for good after some attempts."""
        await self.settled()
        try:
            async with asyncio.timeout(SECONDS_TO_OPEN):
                lane = await self._lanes.open(ref)
        except Exception as error:
            self._attempt_failed(ref, f"it cannot be loaded: {told(error)}")
            return None
        champion = self._switch.champion
        try:
            check_forms(lane, champion)
            async with asyncio.timeout(SECONDS_TO_CHECK):
                golden = await asyncio.to_thread(self._golden, ref)
                await check(lane, champion, golden, least=self._settings.golden_agreement, sleep=self._sleep)
        except Failed as error:
            self._refuse(ref, str(error))
        except Exception as error:
            self._attempt_failed(ref, f"it cannot be checked: {told(error)}")
        else:
            del self._attempts[ref.version]
            return lane
        self._retire(lane)
        return None

    def _attempt_failed(self, ref: ModelRef, why: str) -> None:
        self._attempts[ref.version] += 1
        logger.warning("Version %s of %s, attempt %d: %s", ref.version, ref.name, self._attempts[ref.version], why)
        if self._attempts[ref.version] >= ATTEMPTS:
            self._refuse(ref, why)

    def _refuse(self, ref: ModelRef, why: str) -> None:
        del self._attempts[ref.version]
        self._outbox.drop("promote", ref.version)
        self._outbox.put("refuse", ref.version, lambda: self._registry.refuse(ref.version, why))
        logger.warning("Version %s of %s is refused: %s", ref.version, ref.name, why)

    def _make_room(self) -> None:
        """Only the champion is left."""
        if (trial := self._switch.trial) is not None:
            self._switch.end_trial()
            self._retire(trial.lane)
        if (standby := self._switch.standby) is not None:
            self._switch.dismiss()
            self._retire(standby)

    def _retire(self, lane: Lane) -> None:
        task = asyncio.get_running_loop().create_task(self._close(lane))
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    async def _close(self, lane: Lane) -> None:
        try:
            async with asyncio.timeout(SECONDS_TO_DRAIN):
                await self._switch.drained(lane)
        except TimeoutError:
            logger.warning("Version %s is closed before it has answered everything.", lane.ref.version)
        try:
            await self._lanes.close(lane)
        except Exception as error:
            logger.warning("Version %s could not be closed: %s", lane.ref.version, told(error))

    def _note(self, trouble: str | None) -> None:
        """Said when it begins and when it ends, not in every round."""
        if trouble is not None and self._trouble is None:
            logger.warning("The registry cannot be followed; what is served stays: %s", trouble)
        elif trouble is None and self._trouble is not None:
            logger.warning("The registry can be followed again.")
        self._trouble = trouble
