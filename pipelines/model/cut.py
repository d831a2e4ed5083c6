"""Run some units of a model by the model's own forward, and only these.

    stage 0            stage 1            stage 2
    embeddings  run    embeddings  -      embeddings  -       `-` computes nothing that counts: its weights
    block 0     run    block 0     skip   block 0     skip        are stand-ins that take no memory
    block 1     stop   block 1     skip   block 1     skip    `skip` gives back what the stage before sent
                       block 2     stop   block 2     skip    `stop` ends the forward after this block
                                          block 3     run
                                          head        run

Every stage calls the whole forward on the micro-batch's own inputs (token ids, masks, pixels), so that
masks, positions and the loop over the blocks stay the model's own code. What crosses is pipelines/model/
units.py's to say. What came from the stage before and is wanted behind this one too is sent on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten

from pipelines.model.crossing import Boundary, Key, Leaf
from pipelines.model.structure import NUMBER, TENSOR, take_apart
from pipelines.model.units import FIRST, Units
from pipelines.train.randomness import Stream


class Stop(Exception):
    """Ends the model's forward: everything that is to be sent is there."""


class _Arrival(torch.autograd.Function):
    """What arrived, as the model meets it: not a leaf of the graph, which a model must not change in place."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:  # noqa: ARG004
        same: Tensor = tensor.new_empty(0).set_(tensor)  # type: ignore[call-overload]
        return same

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # noqa: ARG004
        return gradient


@dataclass(frozen=True, slots=True)
class Chunk:
    """Units `first` to `end - 1`, and what crosses on both sides of them."""

    first: int
    end: int
    arriving: Boundary | None
    """None for the first chunk of a model."""
    leaving: Boundary | None
    """None for the last one."""
    skipped: frozenset[Key]
    """Calls that run before it."""

    @staticmethod
    def of(units: Units, first: int, end: int) -> Chunk:
        """
        Raises:
            ValueError: there are no such units.
        """
        if not 0 <= first < end <= len(units):
            raise ValueError(f"units {first} to {end} of {len(units)} are no chunk")
        arriving = None if first == 0 else units.boundaries[first - 1]
        leaving = None if end == len(units) else units.boundaries[end - 1]
        return Chunk(first, end, arriving, leaving, frozenset(arriving.skipped) if arriving else frozenset())


class Cut:
    """A model that runs one chunk of itself at a time. It is changed: its blocks obey until `release`."""

    def __init__(self, model: nn.Module, units: Units) -> None:
        self.model = model
        self._chunk = Chunk.of(units, 0, len(units))
        """The one that is running."""
        self._structures = units.structures or {}
        self._counts: Counter[str] = Counter()
        self._values: dict[Leaf, Any] = {}
        self._arrived: dict[Leaf, Any] = {}
        self._within = units.within
        self._pretending: Key | None = None
        self._stream: Stream | None = None
        # Every chunk counts the same calls and restarts the generator at the same places, whatever it runs.
        self._places = units.watched
        self._own: dict[str, Any] = {}
        for path in sorted({path for path, _ in self._places}):
            module = model.get_submodule(path)
            self._own[path] = module.__dict__.get("forward")
            module.forward = self._obeying(path, module.forward)

    def release(self) -> None:
        """Give the model back as it was."""
        for path, forward in self._own.items():
            module = self.model.get_submodule(path)
            if forward is None:
                del module.forward
            else:
                module.forward = forward

    def run(
        self, chunk: Chunk, inputs: Mapping[str, Tensor], received: Sequence[Tensor], stream: Stream | None = None
    ) -> Any:
        """Run a chunk on one micro-batch.

        Args:
            inputs: the micro-batch as the model's forward takes it; the same for every chunk.
            received: what the chunk before sent; empty for the first one.
            stream: where dropout draws from; None leaves the generator alone (evaluation).

        Returns:
            The model's own output from the last chunk; a list of tensors to send from any other.
        """
        self._chunk, self._stream = chunk, stream
        self._counts.clear()
        self._arrived = self._unpacked(received)
        self._values = dict(self._arrived)
        try:
            self._enter(FIRST)
            output = self.model(**inputs)
        except Stop:
            assert chunk.leaving is not None
            return self._packed(chunk.leaving)
        finally:
            self._stream, self._values, self._arrived = None, {}, {}
        assert chunk.leaving is None, "the forward ended without reaching the end of the chunk"
        return output

    def moment(self) -> AbstractContextManager[None]:
        """A context in which what runs now can be run again later: calls are counted, skipped and seeded as now."""
        # Of the values only those that arrived: later ones hang on the graph that will hold this context.
        then = self._chunk, Counter(self._counts), self._stream, dict(self._arrived)

        @contextmanager
        def again() -> Iterator[None]:
            now = self._chunk, self._counts, self._stream, self._values
            self._chunk, counts, self._stream, values = then
            self._counts, self._values = Counter(counts), dict(values)
            try:
                yield
            finally:
                self._chunk, self._counts, self._stream, self._values = now

        return again()

    def _enter(self, place: str) -> None:
        if self._stream is not None:
            self._stream.enter(place)

    # -- what modules do in place of their own forward ------------------------------------------

    def _obeying(self, path: str, run: Callable[..., Any]) -> Callable[..., Any]:
        def obey(*args: Any, **kwargs: Any) -> Any:
            if self._pretending is not None and self._pretending[0] == path:
                return self._returned(self._pretending)
            key = (path, self._counts[path])
            self._counts[path] += 1
            if key in self._chunk.skipped:
                output = self._skip(key)
                self._note_shapes(key, output)
            else:
                args, kwargs = self._at_entry(key, args, kwargs)
                if key in self._places:
                    self._enter(f"{path}#{key[1]}")
                output = run(*args, **kwargs)
                self._note(key, output)
            if self._chunk.leaving is not None and key == self._chunk.leaving.at:
                raise Stop
            if key in self._places:
                self._enter(f"behind {path}#{key[1]}")
            return output

        return obey

    def _at_entry(self, key: Key, args: Any, kwargs: Any) -> tuple[Any, Any]:
        """The boundary lies before this call or inside it: hand over what it was given, or take it up."""
        for boundary in (self._chunk.arriving, self._chunk.leaving):
            given = [leaf for leaf in boundary.given if leaf.call == key] if boundary else []
            if not given:
                continue
            leaves, spec = tree_flatten((args, kwargs))
            for leaf in given:
                if boundary is self._chunk.arriving:
                    leaves[leaf.index] = self._values[leaf]
                else:
                    self._values[leaf] = leaves[leaf.index]
            args, kwargs = tree_unflatten(leaves, spec)
        if self._chunk.leaving is not None and self._chunk.leaving.at_entry and key == self._chunk.leaving.at:
            raise Stop
        return args, kwargs

    def _skip(self, key: Key) -> Any:
        assert self._chunk.arriving is not None
        for aside in self._chunk.arriving.asides.get(key, ()):
            # Called, and not only looked up: hooks on such a module collect what it returns.
            self._pretending = aside
            self.model.get_submodule(aside[0])()
            self._pretending = None
        self._counts.update(self._within[key])
        return self._returned(key)

    def _returned(self, key: Key) -> Any:
        """What a call that runs on an earlier stage returned, with stand-ins for what is not wanted here."""
        structure = self._structures[key]
        leaves = [self._values.get(Leaf(key, at)) for at in range(len(structure.kinds))]
        for at, kind in enumerate(structure.kinds):
            if kind == TENSOR and leaves[at] is None:
                leaves[at] = self._stand_in(at)
            elif kind == NUMBER and leaves[at] is None:
                leaves[at] = 0
        return structure.build(leaves)

    def _stand_in(self, index: int) -> Tensor:
        """A value that nothing behind depends on, shaped like what the last call before this chunk returned."""
        assert self._chunk.arriving is not None
        tensors = {leaf: value for leaf, value in self._values.items() if isinstance(value, Tensor)}
        like = tensors.get(Leaf(self._chunk.arriving.at, index))
        if like is None:
            like = next(iter(tensors.values()))
        return _nothing(like.shape, like.dtype, like.device)

    # -- what crosses ---------------------------------------------------------------------------

    def _note(self, key: Key, output: Any) -> None:
        """Keep what of a call's output is to be sent.

        Raises:
            RuntimeError: the output is shaped otherwise than when the model was looked at.
        """
        if self._chunk.leaving is None or not any(leaf.call == key for leaf in self._chunk.leaving.leaves):
            return
        structure, leaves = take_apart(output)
        if key in self._structures and structure.spec != self._structures[key].spec:
            raise RuntimeError(
                f"{key[0]} returned {structure.spec}, but {self._structures[key].spec} when the model was cut"
            )
        self._values |= {leaf.place: leaves[leaf.index] for leaf in self._chunk.leaving.leaves if leaf.call == key}

    def _note_shapes(self, key: Key, output: Any) -> None:
        """What was made up here has a shape that the next stage may have to make up too."""
        leaving = self._chunk.leaving
        wanted = [leaf for leaf in leaving.leaves if leaf.call == key and leaf.shape_only] if leaving else []
        if wanted:
            _, leaves = take_apart(output)
            self._values |= {leaf.place: leaves[leaf.index] for leaf in wanted}

    def _packed(self, boundary: Boundary) -> list[Tensor]:
        packed = []
        for leaf in boundary.leaves:
            value = self._values[leaf.place]
            if leaf.shape_only:
                packed.append(torch.tensor([_DTYPES.index(value.dtype), *value.shape]))
            else:
                packed.append(value if isinstance(value, Tensor) else torch.tensor(value))
        return packed

    def _unpacked(self, received: Sequence[Tensor]) -> dict[Leaf, Any]:
        if self._chunk.arriving is None:
            return {}
        values: dict[Leaf, Any] = {}
        for leaf, value in zip(self._chunk.arriving.leaves, received, strict=True):
            structure = None if leaf.given else self._structures[leaf.call]
            place = leaf.place
            if leaf.shape_only:
                dtype, *shape = value.tolist()
                values[place] = _nothing(torch.Size(shape), _DTYPES[dtype], self._device)
            elif structure is not None and structure.kinds[leaf.index] == NUMBER:
                values[place] = value.item()
            else:
                values[place] = _Arrival.apply(value) if value.requires_grad else value  # type: ignore[no-untyped-call]
        return values | {place: values[leaf] for place, leaf in self._chunk.arriving.same.items()}

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device


_DTYPES = (
    torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.int64, torch.int32, torch.int16, torch.int8,
    torch.uint8, torch.bool, torch.complex64, torch.complex128,
)  # fmt: skip


def _nothing(shape: torch.Size, dtype: torch.dtype, device: torch.device) -> Tensor:
    """A tensor of NaN, or of zeros where there is none."""
    return torch.full(
        shape, float("nan") if dtype.is_floating_point or dtype.is_complex else 0, dtype=dtype, device=device
    )


@contextmanager
def chunk_of(model: nn.Module, units: Units, first: int, end: int) -> Iterator[Callable[..., Any]]:
    """`Cut.run` for one chunk of a model that is wanted whole again afterwards."""
    cut = Cut(model, units)
    try:
        yield partial(cut.run, Chunk.of(units, first, end))
    finally:
        cut.release()
