"""What a sequence of data sets leaves of the earlier ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any


@dataclass(frozen=True, slots=True)
class Learnt:
    """The score of every set after every run that came with it or after it."""

    method: str
    score_name: str
    sets: tuple[str, ...]
    """What they are called, in the order in which they were learnt."""
    after: tuple[tuple[float, ...], ...]
    """`after[k][s]`: on the test split of set `s`, of the model after set `k`; `s` is at most `k`."""

    @classmethod
    def of(cls, tree: Mapping[str, Any]) -> Learnt:
        """What `to_json` made a tree of."""
        after = tuple(tuple(scores) for scores in tree["after"])
        return cls(tree["method"], tree["score_name"], tuple(tree["sets"]), after)

    @property
    def is_whole(self) -> bool:
        """Whether every set was learnt."""
        return len(self.after) == len(self.sets)

    @property
    def forgotten(self) -> list[float]:
        """Of every set but the newest."""
        return forgotten(self.after)

    @property
    def forgetting(self) -> float:
        """The mean of these; 0 where there is no earlier set yet."""
        return fmean(self.forgotten) if self.forgotten else 0.0

    @property
    def mean_score(self) -> float:
        """Over all sets, of the newest model."""
        return fmean(self.after[-1])

    def metrics(self) -> dict[str, float]:
        """For MLflow, of the newest model: sets by their numbers, for names need not be names of metrics."""
        scores = {f"set_{s}_score": score for s, score in enumerate(self.after[-1], 1)}
        lost = {f"set_{s}_forgotten": score for s, score in enumerate(self.forgotten, 1)}
        return {**scores, **lost, "forgetting": self.forgetting, "mean_score": self.mean_score}

    def to_json(self) -> dict[str, Any]:
        """A tree of dicts, lists and numbers."""
        return {
            "method": self.method,
            "score_name": self.score_name,
            "sets": list(self.sets),
            "after": [list(scores) for scores in self.after],
            "forgotten": self.forgotten,
            "forgetting": self.forgetting,
            "mean_score": self.mean_score,
        }


def forgotten(after: Sequence[Sequence[float]]) -> list[float]:
    """Of each set but the newest: its best score of all models before the newest one, less its score now.

    Below 0 where later sets made it better (Chaudhry et al. 2018, Riemannian Walk, section 3.1).
    """
    newest = len(after) - 1
    return [max(after[k][s] for k in range(s, newest)) - after[newest][s] for s in range(newest)]
