"""Divide a block in two: attention on one stage, feed-forward on another.

A block can be divided behind a call inside it. Of the places that leave each half a fair share of the
block's parameters, and no parameter to both, the one with the fewest values to send is taken, and of several
such the one with the most even halves. In BERT that is behind `attention` (one value), in GPT-2 behind
`attn` (two: its output, and the block's input for the residual connection).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import islice

from pipelines.model.crossing import Crossing, Graph, Leaf, NoBoundary
from pipelines.model.trace import Call, Edge, Trace

FAIR = 0.1
"""The smallest share of a block's parameters that is worth a stage of its own."""


@dataclass(frozen=True, slots=True)
class Half:
    """What a block's first half is, and what crosses to the second one."""

    end: Call
    crossing: Crossing
    parameters: frozenset[str]
    """Of the first half; all others of the block belong to the second one."""


class Divider:
    """Looks inside the blocks of one forward."""

    def __init__(self, seen: Trace, graph: Graph, size: Callable[[Iterable[str]], int]) -> None:
        self._trace, self._graph, self._size = seen, graph, size
        self._ticks = sorted(seen.reads)
        self._ever_read = self._read(0, float("inf"))
        self._position = {call.key: number for number, call in enumerate(seen.calls)}

    def divide(
        self,
        block: Call,
        parameters: Sequence[str],
        *,
        ended: Sequence[Call],
        arriving: Iterable[Edge],
        leaving: Iterable[Edge],
    ) -> Half:
        """The first half of `block`, which needs `parameters` as a whole.

        Args:
            ended: the calls that end before the block begins and whose outputs may be sent.
            arriving: what crosses the boundary before the block.
            leaving: what crosses the boundary behind it.

        Raises:
            NoBoundary: it cannot be divided; says why.
        """
        found: list[tuple[tuple[int, float], Half]] = []
        before = {edge: Leaf(block.key, 0) for edge in arriving}
        refused = "no call inside it leaves each half a tenth of its parameters"
        for end, share in self._places(block, parameters):
            within = self._ended_within(block, end)
            try:
                crossing = self._graph.behind([*ended, *within], leaving, block=block)
            except NoBoundary as reason:
                refused = str(reason)
                continue
            _, _, met = self._graph.walk(crossing.edges, before)
            first = (met | self._first(block, parameters, end)) & {*parameters}
            second = crossing.parameters | self._read(end.closed, block.closed)
            if both := first & second:
                refused = f"behind {end.path} both halves need {min(both)}"
                continue
            values = sum(not leaf.shape_only for leaf in crossing.boundary.leaves)
            found.append(((values, abs(share - 0.5)), Half(end, crossing, frozenset(first))))
        if not found:
            raise NoBoundary(refused)
        return min(found, key=lambda pair: pair[0])[1]

    def _places(self, block: Call, parameters: Sequence[str]) -> list[tuple[Call, float]]:
        """Calls inside `block` that end between two fair shares of it, with the first one's share."""
        own = self._held(block, parameters)
        whole = self._size(own)
        children, around = self._children(block), {block.path}
        while wrapper := next((c for c in children if self._size(own & self._held(c, parameters)) == whole > 0), None):
            children, around = self._children(wrapper), {*around, wrapper.path}
        places = []
        for child in children:
            share = self._size(own & self._first(block, parameters, child)) / max(whole, 1)
            if not FAIR <= share <= 1 - FAIR or all(edge is None for edge in child.returned):
                continue
            if any(self._may_be_passed_by(call, around, parameters) for call in self._ended_within(block, child)):
                continue
            places.append((child, share))
        return places

    def _may_be_passed_by(self, call: Call, around: AbstractSet[str], parameters: Sequence[str]) -> bool:
        """Whether it is an entry of a list whose entries did not all run: for another input it may not run."""
        listed = call.path.rpartition(".")[0]
        return listed not in around and bool(self._hidden(listed, parameters))

    def _held(self, call: Call, parameters: Sequence[str]) -> set[str]:
        return self._read(call.opened, call.closed) | self._hidden(call.path, parameters)

    def _first(self, block: Call, parameters: Sequence[str], end: Call) -> set[str]:
        """Parameters that are read in `block` up to the end of `end`, or hidden in what ended by then."""
        hidden = (self._hidden(call.path, parameters) for call in self._ended_within(block, end))
        return self._read(block.opened, end.closed).union(*hidden)

    def _hidden(self, path: str, parameters: Sequence[str]) -> set[str]:
        """Parameters of a module that this one forward did not read, such as experts'."""
        return {name for name in parameters if name.startswith(f"{path}.") and name not in self._ever_read}

    def _read(self, begin: float, end: float) -> set[str]:
        low, high = bisect_left(self._ticks, begin), bisect_left(self._ticks, end)
        return {name for tick in self._ticks[low:high] for name in self._trace.reads[tick]}

    def _children(self, outer: Call) -> list[Call]:
        children: list[Call] = []
        for call in self._behind(outer):
            if not children or call.opened > children[-1].closed:
                children.append(call)
        return children

    def _ended_within(self, block: Call, end: Call) -> list[Call]:
        """The outermost calls inside `block` that ended by the end of `end` and returned something to learn from."""
        ended: list[Call] = []
        for call in self._behind(block):
            learnt = any(edge is not None for edge in call.returned)
            if learnt and call.closed <= end.closed and (not ended or call.opened > ended[-1].closed):
                ended.append(call)
        return ended

    def _behind(self, outer: Call) -> Iterable[Call]:
        """The calls within `outer`, in the order of their beginnings."""
        for call in islice(self._trace.calls, self._position[outer.key] + 1, None):
            if call.opened > outer.closed:
                return
            yield call
