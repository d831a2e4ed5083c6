"""A model's units, and what crosses between them.

    embeddings | block 0 | block 1 | ... | head
               ^ boundary 0        ^ boundary 2: what the units behind it need of those before it

Nothing here knows an architecture. A block is one call of an entry of the model's module lists; where an
enclosing module (an encoder, say) ends with a block and before the next one, its tail belongs to the
block's unit. What crosses a boundary is read from autograd's graph of one forward: everything behind it is
followed back to where it meets outputs of calls that ended before it (they are sent, and their calls
skipped) and parameters (they are held). So an encoder's output that every decoder block reads, skips over
many blocks, or a router's logits that the loss wants need no case of their own, and a parameter that
several units lead to, such as a tied embedding, belongs to all of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from pipelines.errors import UserError
from pipelines.model.blocks import find_blocks
from pipelines.model.structure import NUMBER, TENSOR, Structure
from pipelines.model.trace import Call, Edge, Trace, parents, trace

FIRST, LAST = "embeddings", "head"
Key = tuple[str, int]
"""A call: the module's path, and how often the module had run before."""


@dataclass(frozen=True, slots=True)
class Unit:
    """The smallest piece of a model that can be placed."""

    name: str
    """The block's module path; `embeddings` before the first block and `head` after the last."""
    parameters: tuple[str, ...]
    """Fully qualified names of the parameters that it needs; a shared one belongs to several units."""
    size: int
    """Number of values in these parameters."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """One value that crosses a boundary: leaf `index` of what a call returned."""

    call: Key
    index: int
    shape_only: bool = False
    """Nothing behind depends on the value, but its call is skipped there and must return something of its shape."""


@dataclass(frozen=True, slots=True)
class Boundary:
    """Where a forward can end on one stage and go on on the next."""

    at: Key
    """The call after which (or, before the first block, at whose beginning) the stage before stops."""
    at_entry: bool
    """Whether `leaves` are arguments of `at`, which has not run yet."""
    leaves: tuple[Leaf, ...]
    skipped: tuple[Key, ...]
    """Calls that a stage behind the boundary does not run; a call within one of them is not listed."""
    asides: Mapping[Key, tuple[Key, ...]]
    """Calls within a skipped one whose outputs are wanted too: the skipped call pretends to make them."""


@dataclass(frozen=True, slots=True)
class Units:
    """A model's units in the order in which they run; boundary `k` lies behind unit `k`."""

    all: tuple[Unit, ...]
    boundaries: tuple[Boundary, ...] = ()
    structures: Mapping[Key, Structure] | None = None
    """What every call that may be skipped returns."""
    constants: tuple[str, ...] = ()
    """Parameters that are read but have no gradient: every stage holds them, and none changes them."""
    blocks: tuple[str, ...] = ()
    """Paths of the modules whose calls are the blocks."""

    def __len__(self) -> int:
        return len(self.all)

    def parameters(self, first: int, end: int) -> tuple[str, ...]:
        """Names of the parameters that units `first` to `end - 1` need, each once, in a stable order."""
        return tuple(dict.fromkeys(name for unit in self.all[first:end] for name in unit.parameters))


def find_units(model: nn.Module, inputs: Mapping[str, Tensor]) -> Units:
    """The units of `model`, seen while it runs on `inputs` (keyword arguments of its forward).

    Raises:
        UserError: the model has no blocks, or none of its boundaries can be crossed; says why.
    """
    seen = trace(model, inputs)
    blocks = find_blocks(model, seen)
    if not blocks:
        raise UserError(
            f"{type(model).__name__} cannot be cut: none of its module lists holds blocks that run one behind the "
            "other. Train it uncut, with plan.stages=1."
        )
    return _Finder(model, seen, blocks).find()


def one_unit(model: nn.Module) -> Units:
    """All of `model` as a single unit, for a run with one stage: any model will do."""
    names = tuple(name for name, _ in model.named_parameters())
    return Units((Unit("model", names, sum(p.numel() for p in model.parameters())),))


class _NoBoundary(Exception):
    """Something behind a boundary needs what cannot be sent."""


class _Finder:
    """Follows the graph backwards, from the last boundary to the first."""

    def __init__(self, model: nn.Module, seen: Trace, blocks: Sequence[Call]) -> None:
        self._model, self._trace, self._blocks = model, seen, blocks
        self._ends = [_end(seen, block, following) for block, following in pairwise(blocks)] + [blocks[-1]]
        self._made: defaultdict[Edge, list[Call]] = defaultdict(list)
        for call in seen.calls:
            for edge in call.returned:
                if edge is not None:
                    self._made[edge].append(call)

    def find(self) -> Units:
        names = [FIRST, *(_name(block.key) for block in self._blocks), LAST]
        wanted: list[Edge] = list(self._trace.outputs)
        found: list[tuple[int, Boundary, set[str]]] = []
        refused = ""
        for k in range(len(self._blocks), -1, -1):
            try:
                boundary, reached, parameters = self._cross(k, wanted)
            except _NoBoundary as reason:
                refused = str(reason)
                continue
            found.insert(0, (k, boundary, parameters))
            wanted = reached
        if not found:
            raise UserError(
                f"{type(self._model).__name__} cannot be cut: {refused}. Train it uncut, with plan.stages=1."
            )
        _, _, first = self._walk(wanted, {}, lambda *_: None)
        held = [first, *(parameters for _, _, parameters in found)]
        trained = {name for parameters in held for name in parameters}
        read = {name for names in self._trace.reads.values() for name in names}
        constants = tuple(name for name in self._trace.names.values() if name in read - trained)
        limits = [-1, *(k for k, _, _ in found), len(names) - 1]
        units = []
        for number, (low, high) in enumerate(pairwise(limits)):
            used = (held[number] | self._read(low, high) | self._unseen(low, high, trained | read)).difference(
                constants
            )
            ordered = tuple(name for name in self._trace.names.values() if name in used)
            units.append(Unit(" + ".join(names[low + 1 : high + 1]), ordered, self._size(ordered)))
        keys = {key for _, boundary, _ in found for key in boundary.skipped}
        keys |= {key for _, boundary, _ in found for asides in boundary.asides.values() for key in asides}
        structures = {call.key: call.structure for call in self._trace.calls if call.key in keys and call.structure}
        paths = tuple(dict.fromkeys(block.path for block in self._blocks))
        return Units(tuple(units), tuple(boundary for _, boundary, _ in found), structures, constants, paths)

    def _cross(self, k: int, wanted: Iterable[Edge]) -> tuple[Boundary, list[Edge], set[str]]:
        """The boundary behind unit `k`, what crosses it, and the parameters behind it that `wanted` leads to."""
        if k == 0:
            return self._before_the_blocks(wanted)
        skipped = _outermost(self._ends[:k])
        there: dict[Edge, Leaf] = {}
        for call in skipped:
            there |= {edge: Leaf(call.key, at) for at, edge in enumerate(call.returned) if edge is not None}
        asides: defaultdict[Key, list[Key]] = defaultdict(list)

        def look_inside(edge: Edge, node: Any) -> Leaf | None:
            owner = next((call for call in skipped if call.computed(node)), None)
            if owner is None:
                return None
            inner = next((call for call in self._made[edge] if call is not owner and call.within(owner)), None)
            if inner is None:
                raise _NoBoundary(f"a value computed inside {owner.path} is used behind it, and is not its output")
            if inner.key not in asides[owner.key]:
                asides[owner.key].append(inner.key)
            return Leaf(inner.key, inner.returned.index(edge))

        leaves, edges, parameters = self._walk(wanted, there, look_inside)
        last = self._ends[k - 1]
        if not any(leaf.call == last.key for leaf in leaves):
            raise _NoBoundary(f"nothing behind {last.path} depends on what it returns")
        order = {call.key: number for number, call in enumerate(self._trace.calls)}
        sent = set(leaves)
        for call in skipped:
            sent |= self._also_sent(call, last, needed=any(leaf.call == call.key for leaf in leaves))
        values = {(leaf.call, leaf.index) for leaf in sent if not leaf.shape_only}
        sent = {leaf for leaf in sent if not leaf.shape_only or (leaf.call, leaf.index) not in values}
        ordered = tuple(sorted(sent, key=lambda leaf: (order[leaf.call], leaf.index)))
        inner_keys = {owner: tuple(sorted(keys, key=order.__getitem__)) for owner, keys in asides.items()}
        boundary = Boundary(last.key, False, ordered, tuple(call.key for call in skipped), inner_keys)
        return boundary, edges, parameters

    def _also_sent(self, call: Call, last: Call, *, needed: bool) -> set[Leaf]:
        """What of a skipped call's output is sent although no gradient leads to it."""
        assert call.structure is not None
        assert last.structure is not None
        sent = set()
        likely = dict(enumerate(last.structure.shapes))
        for at, (kind, edge) in enumerate(zip(call.structure.kinds, call.returned, strict=True)):
            if kind == NUMBER or (kind == TENSOR and (call is last or (needed and edge is None))):
                sent.add(Leaf(call.key, at))
            elif kind == TENSOR and call.structure.shapes[at] != likely.get(at):
                sent.add(Leaf(call.key, at, shape_only=True))
        return sent

    def _before_the_blocks(self, wanted: Iterable[Edge]) -> tuple[Boundary, list[Edge], set[str]]:
        """Between the embeddings and the first block: the block's first argument that depends on a parameter."""
        block = self._blocks[0]
        index = next((at for at, edge in enumerate(block.given) if edge is not None), None)
        if index is None:
            raise _NoBoundary(f"{block.path} gets nothing that depends on a parameter")
        carrier = block.given[index]
        assert carrier is not None

        def only_the_block(_: Edge, __: Any) -> None:
            return None

        leaf = Leaf(block.key, index)
        _, edges, parameters = self._walk(wanted, {carrier: leaf}, only_the_block, only_from=block)
        return Boundary(block.key, True, (leaf,), (), {}), edges, parameters

    def _walk(
        self, wanted: Iterable[Edge], there: Mapping[Edge, Leaf], look_inside: Any, only_from: Call | None = None
    ) -> tuple[list[Leaf], list[Edge], set[str]]:
        """Follow `wanted` back to the values of `there`, and to parameters.

        `look_inside` is asked about every other value, with its node, and may make a leaf of it. Where
        `only_from` is given, values of `there` may be used by its computations alone.
        """
        leaves: list[Leaf] = []
        edges: list[Edge] = []
        parameters: set[str] = set()
        done: set[Edge] = set()
        visited: set[Any] = set()
        todo: list[tuple[Edge, Any]] = [(edge, None) for edge in wanted]
        while todo:
            edge, user = todo.pop()
            if edge in there and only_from is not None and (user is None or not only_from.computed(user)):
                raise _NoBoundary(f"what goes into {only_from.path} is used elsewhere too")
            if edge in done:
                continue
            done.add(edge)
            node = edge[0]
            leaf = there.get(edge) or look_inside(edge, node)
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

    def _read(self, low: int, high: int) -> set[str]:
        """Parameters that a kernel read between boundary `low` and boundary `high`."""
        begin, end = self._moment(low), self._moment(high)
        return {name for tick, names in self._trace.reads.items() if begin <= tick < end for name in names}

    def _unseen(self, low: int, high: int, seen: set[str]) -> set[str]:
        """Parameters inside the blocks between two boundaries that this one forward did not meet, such as experts'."""
        paths = tuple(f"{block.path}." for block in self._blocks[max(low, 0) : high])
        return {name for name in self._trace.names.values() if name not in seen and name.startswith(paths)}

    def _moment(self, k: int) -> float:
        if k < 0:
            return 0
        if k == 0:
            return self._blocks[0].opened
        return self._ends[k - 1].closed if k <= len(self._blocks) else float("inf")

    def _size(self, names: Iterable[str]) -> int:
        return sum(self._model.get_parameter(name).numel() for name in names)


def _end(seen: Trace, block: Call, following: Call) -> Call:
    """The outermost call that ends with `block` and before `following`."""
    around = [call for call in seen.calls if block.within(call) and call.closed < following.opened]
    return around[0]


def _outermost(calls: Sequence[Call]) -> list[Call]:
    """Those of `calls` that are not within another one."""
    return [call for call in calls if not any(call is not other and call.within(other) for other in calls)]


def _name(key: Key) -> str:
    path, nth = key
    return path if nth == 0 else f"{path}#{nth + 1}"
