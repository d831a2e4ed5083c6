"""How a run's measured times compare with what was predicted: of whole steps, and of single stages. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from pipelines.plan.plan import Plan

RECENT = 20
"""Steps that the run's own pace is taken from."""
SLOW, IN_A_ROW = 1.5, 5
"""A stage is slow that took so many times what was predicted, in so many steps one after the other."""


@dataclass(frozen=True, slots=True)
class Straggler:
    """A stage that is slower than it was predicted to be."""

    stage: int
    """Counted through all replicas."""
    step: int
    seconds: float
    """That it computed in this step."""
    predicted: float

    def __str__(self) -> str:
        return (
            f"stage {self.stage} is slow: it computed {self.seconds:.2f} s in step {self.step}, "
            f"{self.seconds / self.predicted:.1f} times what was predicted, and was as slow in the "
            f"{IN_A_ROW - 1} steps before"
        )


class Pace:
    """Of one plan."""

    def __init__(self) -> None:
        self._factors: deque[float] = deque(maxlen=RECENT)
        self._slow: dict[int, int] = {}

    @property
    def factor(self) -> float:
        """How many times what was predicted a step takes; 1 while nothing is known."""
        return median(self._factors) if self._factors else 1.0

    def add(self, seconds: float, predicted: float) -> None:
        """One step's times."""
        self._factors.append(seconds / predicted)

    def stragglers(self, step: int, busy: Sequence[float], predicted: Sequence[float]) -> list[Straggler]:
        """Stages that have been slow for some steps in a row now; each is told once.

        Args:
            busy: seconds that each stage computed in this step.
            predicted: the same as predicted.
        """
        found = []
        for stage, (took, thought) in enumerate(zip(busy, predicted, strict=True)):
            slow = thought > 0 and took > SLOW * thought
            # One that was told stays so, fast or slow.
            count = self._slow.get(stage, 0)
            self._slow[stage] = count + 1 if slow or count >= IN_A_ROW else 0
            if self._slow[stage] == IN_A_ROW:
                found.append(Straggler(stage, step, took, thought))
        return found


@dataclass(frozen=True, slots=True)
class Gain:
    """What another plan would save."""

    now: float
    """Seconds of a step, as the run goes."""
    then: float
    steps: int
    """That are left."""

    @property
    def seconds(self) -> float:
        """Of the whole run; less than nothing where the other plan is slower."""
        return (self.now - self.then) * self.steps

    def __str__(self) -> str:
        return (
            f"a step would take {self.then:.3f} s instead of {self.now:.3f} s, which in the {self.steps} steps that "
            f"are left saves {self.seconds:.0f} s"
        )


def gain_of(plan: Plan, other: Plan, *, pace: float, steps: int) -> Gain:
    """Of `other` over `plan`, both predicted, where steps take `pace` times what is predicted."""
    assert plan.seconds is not None
    assert other.seconds is not None
    return Gain(plan.seconds * pace, other.seconds * pace, steps)
