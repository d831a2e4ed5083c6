"""What steps of a run take, by its replicas and what they exchange."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from pipelines.plan.measured import Shape
from pipelines.plan.predict import Predictor
from pipelines.plan.simulate import Simulated
from pipelines.plan.waves import Sharing, Wave, split_in_waves


@dataclass(frozen=True, slots=True)
class Expected:
    """Of one step."""

    seconds: float
    """Where nobody waits, of one among many such steps."""
    busy: tuple[float, ...] | None
    """Seconds that each stage of each replica computes; None where it is not known beforehand who runs what."""


@dataclass(frozen=True, slots=True)
class Forecast:
    replicas: tuple[Predictor, ...]
    schedules: tuple[str, ...]
    """Of each replica."""
    shares: tuple[float, ...] = (1.0,)
    """One for each wave of a step."""
    sharing: Sharing = "sync"
    exchange: float = 0.0
    """Seconds of a wave's weights and gradients between a replica and the servers."""

    def seconds(self, shapes: Sequence[Shape]) -> float:
        """As `step`, without what single stages do."""
        return self.step(shapes).seconds

    def step(self, shapes: Sequence[Shape]) -> Expected:
        """What a step takes whose micro-batches have these shapes.

        Raises:
            UserError: a schedule cannot keep the devices' memory.
        """
        waves = split_in_waves(len(shapes), self.shares)

        def run(r: int, wave: Wave) -> Simulated:
            return self.replicas[r].step(self.schedules[r], shapes[wave.first : wave.end])

        if self.sharing == "sync":
            found = {wave.replica: run(wave.replica, wave) for wave in waves}
            longest = max(one.seconds for one in found.values()) + self.exchange
            idle = [(0.0,) * len(set(replica.seating.stage_of)) for replica in self.replicas]
            busy = [found[r].busy if r in found else none for r, none in enumerate(idle)]
            return Expected(longest, tuple(seconds for own in busy for seconds in own))
        # Each takes the next wave when it is through with one: their speeds add up.
        every = range(len(self.replicas))
        speed = sum(1 / fmean(run(r, wave).seconds + self.exchange for wave in waves) for r in every)
        return Expected(len(waves) / speed, None)
