"""What steps of a run take, by its replicas and what they exchange."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from pipelines.plan.measured import Shape
from pipelines.plan.predict import Predictor
from pipelines.plan.waves import Sharing, Wave, split_in_waves


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
        """Of a step whose micro-batches have these shapes; where nobody waits, of one among many such steps.

        Raises:
            UserError: a schedule cannot keep the devices' memory.
        """
        waves = split_in_waves(len(shapes), self.shares)

        def seconds(r: int, wave: Wave) -> float:
            return self.replicas[r].step(self.schedules[r], shapes[wave.first : wave.end]).seconds + self.exchange

        if self.sharing == "sync":
            return max(seconds(wave.replica, wave) for wave in waves)
        # Each takes the next wave when it is through with one: their speeds add up.
        speed = sum(1 / fmean(seconds(r, wave) for wave in waves) for r in range(len(self.replicas)))
        return len(waves) / speed
