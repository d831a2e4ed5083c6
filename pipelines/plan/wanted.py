"""Which numbers of devices a pipeline may use, and what they can be worth at most at given prices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipelines.plan.windows import Floats, Ints


@dataclass(frozen=True, slots=True)
class Wanted:
    count: Ints
    """[K]: devices of each type that there are."""
    at_least: Ints
    """[K]: devices of each type that must be used."""
    num_stages: int | None = None
    """Any number when None."""

    def possible(self) -> bool:
        few, many = int(self.at_least.sum()), int(self.count.sum())
        return bool((self.at_least <= self.count).all()) and few <= (self.num_stages or many) <= many

    def keeps(self, used: Ints) -> npt.NDArray[np.bool_]:
        """[...] of `used` [..., K]: whether it is what is wanted."""
        fine = np.all((used >= self.at_least) & (used <= self.count), axis=-1)
        number = used.sum(axis=-1)
        return np.asarray(fine & (number == (number if self.num_stages is None else self.num_stages)))

    def dearest(self, prices: Floats, used: Ints) -> Ints:
        """[..., K]: what may be used beside `used` [..., K], so that its price is as high as can be."""
        low, high = np.maximum(self.at_least - used, 0), self.count - used
        if self.num_stages is None:
            return np.where(prices > 0, high, low)
        dearest: Ints = low.copy()
        left = self.num_stages - used.sum(axis=-1) - low.sum(axis=-1)
        for k in np.argsort(-prices):
            more = np.clip(left, 0, high[..., k] - low[..., k])
            dearest[..., k] += more
            left = left - more
        return dearest

    def rewards(self) -> npt.NDArray[np.bool_]:
        """[K]: whether more use of a type may have to be encouraged: whether its price may be negative."""
        return np.array(self.at_least > 0) | (self.num_stages is not None)
