"""A model's units, and what crosses between them.

    embeddings | block 0 | block 1 | ... | head
               ^ boundary 0        ^ boundary 2: what the units behind it need of those before it

Nothing here knows an architecture. A block is one call of an entry of the model's module lists; where an
enclosing module (an encoder, say) ends with a block and before the next one, its tail belongs to the
block's unit. What crosses a boundary is read from autograd's graph of one forward: everything behind it is
followed back to where it meets outputs of calls that ended before it (they are sent, and their calls
skipped) and parameters (they are held); see pipelines/model/crossing.py. So an encoder's output that every
decoder block reads, skips over many blocks, or a router's logits that the loss wants need no case of their
own, and a parameter that several units lead to, such as a tied embedding, belongs to all of them. A block
that stands alone is then divided in two units where it can be (pipelines/model/halves.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from torch import Tensor, nn

from pipelines.errors import UserError
from pipelines.model.blocks import find_blocks
from pipelines.model.crossing import Boundary, Crossing, Graph, Key, NoBoundary
from pipelines.model.halves import Divider, Half
from pipelines.model.structure import Structure
from pipelines.model.trace import Call, Edge, Trace, trace

FIRST, LAST = "embeddings", "head"


@dataclass(frozen=True, slots=True)
class Unit:
    """The smallest piece of a model that can be placed."""

    name: str
    """The block's module path, and which half of it; `embeddings` before the first block and `head` after the last."""
    parameters: tuple[str, ...]
    """Fully qualified names of the parameters that it needs; a shared one belongs to several units."""
    size: int
    """Number of values in these parameters."""
    block: str | None = None
    """Of which block it is one half."""


@dataclass(frozen=True, slots=True)
class Units:
    """A model's units in the order in which they run; boundary `k` lies behind unit `k`."""

    all: tuple[Unit, ...]
    boundaries: tuple[Boundary, ...] = ()
    structures: Mapping[Key, Structure] | None = None
    """What every call that may be skipped returns."""
    within: Mapping[Key, Mapping[str, int]] = field(default_factory=dict)
    """How often modules that the boundaries name run within each call that may be skipped."""
    constants: tuple[str, ...] = ()
    """Parameters that are read but have no gradient: every stage holds them, and none changes them."""
    blocks: tuple[str, ...] = ()
    """Paths of the modules whose calls are the blocks."""
    undivided: Mapping[str, str] = field(default_factory=dict)
    """The blocks that are one unit each, with the reason."""

    def __len__(self) -> int:
        return len(self.all)

    @property
    def between_blocks(self) -> tuple[int, ...]:
        """The units that begin behind a whole block; the others lie on both sides of a boundary inside one."""
        return tuple(k for k, boundary in enumerate(self.boundaries, start=1) if not boundary.inside)

    @property
    def inside_blocks(self) -> tuple[int, ...]:
        """The units that begin in the middle of a block."""
        return tuple(k for k, boundary in enumerate(self.boundaries, start=1) if boundary.inside)

    def names(self, first: int, end: int) -> tuple[str, ...]:
        """What units `first` to `end - 1` are called together: a block that is all there by its own name."""
        units = self.all[first:end]
        halves = Counter(unit.block for unit in units if unit.block)
        shown = (unit.block if unit.block and halves[unit.block] == 2 else unit.name for unit in units)
        return tuple(dict.fromkeys(shown))

    @property
    def watched(self) -> frozenset[Key]:
        """The calls that any boundary names."""
        return frozenset(key for boundary in self.boundaries for key in boundary.calls)

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


class _Finder:
    """Follows the graph backwards, from the last boundary to the first, and then divides blocks."""

    def __init__(self, model: nn.Module, seen: Trace, blocks: Sequence[Call]) -> None:
        self._model, self._trace, self._blocks = model, seen, blocks
        self._ends = [_end(seen, block, following) for block, following in pairwise(blocks)] + [blocks[-1]]
        self._graph = Graph(seen, blocks[0])
        self._divider = Divider(seen, self._graph, self._size)

    def find(self) -> Units:
        names = [FIRST, *(_name(block.key) for block in self._blocks), LAST]
        wanted: Sequence[Edge] = self._trace.outputs
        found: list[tuple[int, Crossing]] = []
        refused = ""
        for k in range(len(self._blocks), -1, -1):
            try:
                crossing = self._cross(k, wanted)
            except NoBoundary as reason:
                refused = str(reason)
                continue
            found.insert(0, (k, crossing))
            wanted = crossing.edges
        if not found:
            raise UserError(
                f"{type(self._model).__name__} cannot be cut: {refused}. Train it uncut, with plan.stages=1."
            )
        _, _, first = self._graph.walk(wanted, {})
        held = [first, *(crossing.parameters for _, crossing in found)]
        trained = {name for parameters in held for name in parameters}
        read = {name for names in self._trace.reads.values() for name in names}
        constants = tuple(name for name in self._trace.names.values() if name in read - trained)
        limits = [-1, *(k for k, _ in found), len(names) - 1]
        crossings = dict(found)
        units: list[Unit] = []
        boundaries: list[Boundary] = []
        undivided: dict[str, str] = {}
        for number, (low, high) in enumerate(pairwise(limits)):
            used = {*held[number], *self._read(low, high), *self._unseen(low, high, trained | read)}
            used.difference_update(constants)
            if low in crossings:
                boundaries.append(crossings[low].boundary)
            name = " + ".join(names[low + 1 : high + 1])
            half = None
            if high - low == 1 and low in crossings and high in crossings:
                try:
                    half = self._halve(low, crossings[low], crossings[high], self._ordered(used))
                except NoBoundary as reason:
                    undivided[name] = str(reason)
            if half is None:
                units.append(self._unit(name, used))
            else:
                inner = half.end.path.removeprefix(f"{self._blocks[low].path}.")
                units.append(self._unit(f"{name} (up to {inner})", half.parameters, name))
                units.append(self._unit(f"{name} (behind {inner})", used.difference(half.parameters), name))
                boundaries.append(half.crossing.boundary)
        structures, within = self._skippable(boundaries)
        blocks = tuple(dict.fromkeys(block.path for block in self._blocks))
        return Units(tuple(units), tuple(boundaries), structures, within, constants, blocks, undivided)

    def _cross(self, k: int, wanted: Iterable[Edge]) -> Crossing:
        """The boundary behind unit `k`, what crosses it, and the parameters behind it that `wanted` leads to."""
        if k == 0:
            return self._graph.before(self._blocks[0], wanted)
        return self._graph.behind(self._ends[:k], wanted)

    def _halve(self, k: int, before: Crossing, behind: Crossing, used: Sequence[str]) -> Half:
        return self._divider.divide(
            self._blocks[k], used, ended=self._ends[:k], arriving=before.edges, leaving=behind.edges
        )

    def _skippable(self, boundaries: Sequence[Boundary]) -> tuple[dict[Key, Structure], dict[Key, dict[str, int]]]:
        """What calls that may be skipped return, and what of the boundaries' modules runs within them."""
        keys = {key for boundary in boundaries for key in boundary.skipped}
        keys |= {key for boundary in boundaries for asides in boundary.asides.values() for key in asides}
        named = {key for boundary in boundaries for key in boundary.calls}
        watched = [call for call in self._trace.calls if call.key in named]
        structures = {call.key: call.structure for call in watched if call.key in keys and call.structure}
        within = {
            call.key: dict(Counter(inner.path for inner in watched if inner is not call and inner.within(call)))
            for call in watched
            if call.key in keys
        }
        return structures, within

    def _unit(self, name: str, used: Iterable[str], block: str | None = None) -> Unit:
        ordered = self._ordered(used)
        return Unit(name, ordered, self._size(ordered), block)

    def _ordered(self, used: Iterable[str]) -> tuple[str, ...]:
        names = set(used)
        return tuple(name for name in self._trace.names.values() if name in names)

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


def _name(key: Key) -> str:
    path, nth = key
    return path if nth == 0 else f"{path}#{nth + 1}"
