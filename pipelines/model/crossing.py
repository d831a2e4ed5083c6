"""What crosses a boundary between two parts of a forward, read from autograd's graph.

Everything behind a boundary is followed back to where it meets outputs of calls that ended before it (they
are sent, and their calls skipped) and parameters (they are held). Nothing here knows an architecture.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.model.structure import NUMBER, TENSOR
from pipelines.model.trace import Call, Edge, Trace, parents

Key = tuple[str, int]
"""A call: the module's path, and how often the module had run before."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """One value that crosses a boundary: leaf `index` of what a call returned, or was given."""

    call: Key
    index: int
    shape_only: bool = False
    """Nothing behind depends on the value, but its call is skipped there and must return something of its shape."""
    given: bool = False
    """It is an argument of the call, which runs behind the boundary (or does so from its middle on)."""

    @property
    def place(self) -> Leaf:
        """Where the value, or something of its shape, is kept."""
        return Leaf(self.call, self.index, given=self.given)


@dataclass(frozen=True, slots=True)
class Boundary:
    """Where a forward can end on one stage and go on on the next."""

    at: Key
    """The call after which (or, before the first block, at whose beginning) the stage before stops."""
    at_entry: bool
    """Whether `at` has not run yet."""
    leaves: tuple[Leaf, ...]
    skipped: tuple[Key, ...]
    """Calls that a stage behind the boundary does not run; a call within one of them is not listed."""
    asides: Mapping[Key, tuple[Key, ...]]
    """Calls within a skipped one whose outputs are wanted too: the skipped call pretends to make them."""
    same: Mapping[Leaf, Leaf]
    """More places where a value that is sent belongs: a module that handed it on, or gave it twice."""
    inside: bool = False
    """Whether it divides a block: `at` ends in the middle of the block's forward."""

    @property
    def given(self) -> tuple[Leaf, ...]:
        """Arguments of calls that run behind the boundary."""
        return tuple(leaf for leaf in (*self.leaves, *self.same) if leaf.given)

    @property
    def calls(self) -> frozenset[Key]:
        """Every call that it names."""
        asides = (key for keys in self.asides.values() for key in keys)
        return frozenset((self.at, *self.skipped, *asides, *(leaf.call for leaf in self.given)))


@dataclass(frozen=True, slots=True)
class Crossing:
    """A boundary with what the walk to it met."""

    boundary: Boundary
    edges: tuple[Edge, ...]
    """The values whose gradients come back."""
    parameters: frozenset[str]
    """Those that were met behind the boundary."""


class NoBoundary(Exception):
    """Something behind a boundary needs what cannot be sent."""


class Graph:
    """One forward's graph, followed backwards."""

    def __init__(self, seen: Trace, first: Call) -> None:
        """
        Args:
            first: the first block.
        """
        self._trace = seen
        self._early = _outermost([call for call in seen.calls if call.closed < first.opened])
        self._order = {call.key: number for number, call in enumerate(seen.calls)}
        self._made: defaultdict[Edge, list[Call]] = defaultdict(list)
        for call in seen.calls:
            for edge in call.returned:
                if edge is not None:
                    self._made[edge].append(call)

    def behind(self, ended: Sequence[Call], wanted: Iterable[Edge], *, block: Call | None = None) -> Crossing:
        """The boundary behind the last of the calls `ended`, which no stage behind it runs.

        `wanted` is what crosses the boundary behind this one. Inside `block`, what the block was given may
        cross too. Of the calls before the first block those are skipped as well whose outputs are wanted
        behind the boundary: relative positions, for example, that are made once for all blocks.

        Raises:
            NoBoundary: says why.
        """
        last, skipped = ended[-1], _outermost(ended)
        there, places = _offered(skipped, block)
        for call in self._early:
            for at, edge in enumerate(call.returned):
                if edge is not None and edge not in there:
                    there[edge] = Leaf(call.key, at)
        asides: defaultdict[Key, list[Key]] = defaultdict(list)

        def look_inside(edge: Edge, node: Any) -> Leaf | None:
            owner = next((call for call in skipped if call.computed(node)), None)
            if owner is None:
                return None
            inner = next((call for call in self._made[edge] if call is not owner and call.within(owner)), None)
            if inner is None:
                raise NoBoundary(f"a value computed inside {owner.path} is used behind it, and is not its output")
            if inner.key not in asides[owner.key]:
                asides[owner.key].append(inner.key)
            return Leaf(inner.key, inner.returned.index(edge))

        leaves, edges, parameters = self.walk(wanted, there, look_inside, only_from=block)
        if not any(leaf.call == last.key for leaf in leaves):
            raise NoBoundary(f"nothing behind {last.path} depends on what it returns")
        sent = set(leaves)
        met = {leaf.call for leaf in leaves}
        skipped = [*(call for call in self._early if call.key in met), *skipped]
        # Inside a block the call before it counts as used: what the block got of it may have no gradient (a mask).
        giver = max((c.closed for c in skipped if c.closed < block.opened), default=None) if block else None
        for call in skipped:
            needed = call.closed == giver or any(leaf.call == call.key for leaf in leaves)
            sent |= _also_sent(call, last, needed=needed, inside=block is not None)
        values = {leaf.place for leaf in sent if not leaf.shape_only}
        same = {place: there[edge] for edge in edges for place in places.get(edge, ()) if place not in values}
        sent = {leaf for leaf in sent if not leaf.shape_only or leaf.place not in values}
        order = self._order
        ordered = tuple(sorted(sent, key=lambda leaf: (order[leaf.call], leaf.index)))
        inner_keys = {owner: tuple(sorted(keys, key=order.__getitem__)) for owner, keys in asides.items()}
        keys = tuple(call.key for call in skipped)
        boundary = Boundary(last.key, False, ordered, keys, inner_keys, same, inside=block is not None)
        return Crossing(boundary, tuple(edges), frozenset(parameters))

    def before(self, block: Call, wanted: Iterable[Edge]) -> Crossing:
        """Between the embeddings and the first block: the block's first argument that depends on a parameter.

        Raises:
            NoBoundary: says why.
        """
        index = next((at for at, edge in enumerate(block.given) if edge is not None), None)
        if index is None:
            raise NoBoundary(f"{block.path} gets nothing that depends on a parameter")
        carrier = block.given[index]
        assert carrier is not None
        leaf = Leaf(block.key, index, given=True)
        _, edges, parameters = self.walk(wanted, {carrier: leaf}, only_from=block)
        return Crossing(Boundary(block.key, True, (leaf,), (), {}, {}), tuple(edges), frozenset(parameters))

    def walk(
        self,
        wanted: Iterable[Edge],
        there: Mapping[Edge, Leaf],
        look_inside: Callable[[Edge, Any], Leaf | None] = lambda *_: None,
        only_from: Call | None = None,
    ) -> tuple[list[Leaf], list[Edge], set[str]]:
        """Follow `wanted` back to the values of `there`, and to parameters.

        `look_inside` is asked about every other value, with its node, and may make a leaf of it. What
        `only_from` was given may be used by its computations alone.
        """
        leaves: list[Leaf] = []
        edges: list[Edge] = []
        parameters: set[str] = set()
        done: set[Edge] = set()
        visited: set[Any] = set()
        todo: list[tuple[Edge, Any]] = [(edge, None) for edge in wanted]
        while todo:
            edge, user = todo.pop()
            leaf = there.get(edge)
            elsewhere = only_from is not None and (user is None or not only_from.computed(user))
            if leaf is not None and leaf.given and elsewhere:
                raise NoBoundary(f"what goes into {leaf.call[0]} is used elsewhere too")
            if edge in done:
                continue
            done.add(edge)
            node = edge[0]
            leaf = leaf or look_inside(edge, node)
            if leaf is not None:
                leaves.append(leaf)
                edges.append(edge)
            elif hasattr(node, "variable"):
                if (name := self._trace.names.get(id(node.variable))) is not None:
                    parameters.add(name)
            elif node not in visited:
                visited.add(node)
                todo += [(parent, node) for parent in parents(node)]
        return leaves, edges, parameters


def _offered(skipped: Sequence[Call], block: Call | None) -> tuple[dict[Edge, Leaf], dict[Edge, list[Leaf]]]:
    """For each value that can be sent where it is taken from, and every place where it is found.

    What a block was given is taken before the same value that a call inside it handed on.
    """
    there: dict[Edge, Leaf] = {}
    places: dict[Edge, list[Leaf]] = {}
    outside = [call for call in skipped if block is None or not call.within(block)]
    sources = list(reversed(_returned(outside)))
    if block is not None:
        sources += [(edge, Leaf(block.key, at, given=True)) for at, edge in enumerate(block.given)]
        sources += _returned(call for call in skipped if call.within(block))
    for edge, leaf in sources:
        if edge is None:
            continue
        there.setdefault(edge, leaf)
        # What comes out of a call before the block gets into it by itself.
        if there[edge].given or not leaf.given:
            places.setdefault(edge, []).append(leaf)
    return there, places


def _returned(calls: Iterable[Call]) -> list[tuple[Edge | None, Leaf]]:
    return [(edge, Leaf(call.key, at)) for call in calls for at, edge in enumerate(call.returned)]


def _also_sent(call: Call, last: Call, *, needed: bool, inside: bool) -> set[Leaf]:
    """What of a skipped call's output is sent although no gradient leads to it."""
    assert call.structure is not None
    assert last.structure is not None
    sent = set()
    likely = dict(enumerate(last.structure.shapes))
    for at, (kind, edge) in enumerate(zip(call.structure.kinds, call.returned, strict=True)):
        # Inside a block, what a module returns beside what is used is wanted by nobody (attention's weights).
        whole = call is last and not inside
        if kind == NUMBER or (kind == TENSOR and (whole or (needed and edge is None))):
            sent.add(Leaf(call.key, at))
        elif kind == TENSOR and (call is last or call.structure.shapes[at] != likely.get(at)):
            sent.add(Leaf(call.key, at, shape_only=True))
    return sent


def _outermost(calls: Sequence[Call]) -> list[Call]:
    """Those of `calls` that are not within another one."""
    return [call for call in calls if not any(call is not other and call.within(other) for other in calls)]
