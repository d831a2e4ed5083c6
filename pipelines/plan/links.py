"""When a message arrives."""

from __future__ import annotations

from pipelines.plan.pipeline import Pipeline


class Links:
    """One for each pair of stages and direction; a message waits until the one before is through.

    Stages do not: messages are sent in the background.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._stage_of, self._costs = pipeline.stage_of, pipeline.costs
        self._free_at: dict[tuple[int, int], float] = {}

    def arrival(self, giver: int, taker: int, i: int, sent: float) -> float:
        """When chunk `taker` has what its neighbour `giver` gives it of micro-batch `i` at `sent`."""
        link = self._stage_of[giver], self._stage_of[taker]
        costs = self._costs
        if costs is None or not costs.latency or link[0] == link[1]:
            return sent
        boundary = min(giver, taker)
        occupied = (costs.activations if giver < taker else costs.gradients)[boundary] * costs.size(i)
        through = self._free_at[link] = max(sent, self._free_at.get(link, 0.0)) + occupied
        return through + costs.latency[boundary]
