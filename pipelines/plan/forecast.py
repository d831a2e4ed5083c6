"""What steps of a run take, by its replicas and what they exchange."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from pipelines.plan.measured import Shape
from pipelines.plan.predict import Predictor
from pipelines.plan.waves import Sharing, split_in_waves


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
        waves = [shapes[wave.first : wave.end] for wave in split_in_waves(len(shapes), self.shares)]
        if self.sharing == "sync":
            owners = [wave.replica for wave in split_in_waves(len(shapes), self.shares)]
            return max(self.wave(r, wave) for r, wave in zip(owners, waves, strict=True)) + self.exchange
        # Each takes the next wave when it is through with one: their speeds add up.
        numbers = range(len(self.replicas))
        speed = sum(1 / (fmean(self.wave(r, wave) for wave in waves) + self.exchange) for r in numbers)
        return len(waves) / speed

    def wave(self, r: int, shapes: Sequence[Shape]) -> float:
        """Seconds that replica `r` takes for micro-batches of these shapes, before anything is exchanged."""
        return self.replicas[r].step(self.schedules[r], shapes).seconds
