"""The workers as their front asks them: groups of like ones, each a deployment of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from cluster.crowd import Crowd
from pipelines.inference.holder import Facts


class Workforce:
    """What is no pass (a chat, an explanation) goes to the group that has the fewest of them for each worker."""

    def __init__(self, handles: Sequence[Any], crowd: Crowd) -> None:
        """
        Args:
            handles: of Ray Serve, one a group.
        """
        self.handles, self._crowd = tuple(handles), crowd
        self._under_way: Counter[int] = Counter()

    @contextmanager
    def one(self, facts: Sequence[Facts], can: Callable[[Facts], bool]) -> Iterator[Any]:
        """The handle of a group that is asked while this lasts.

        Args:
            facts: of the model, as each group has it.
            can: what it must be able to do there; at least one group can.
        """
        able = [k for k, one in enumerate(facts) if can(one)]
        there = [k for k in able if self._crowd.number(k)] or able
        chosen = min(there, key=lambda k: self._under_way[k] / max(1, self._crowd.number(k)))
        self._under_way[chosen] += 1
        try:
            yield self.handles[chosen]
        finally:
            self._under_way[chosen] -= 1
