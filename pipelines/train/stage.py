"""One stage: a chunk of the model with its parameters, their gradients and their optimizer.

Plain torch, one process, no messages: what a stage computes. The executor decides when.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain, pairwise
from typing import Any

import torch
from torch import Tensor

from pipelines.adapt.ranks import RANKED, Ranks, has_ranks
from pipelines.model.cut import Chunk, Cut
from pipelines.model.load import lay_out, put, skeleton
from pipelines.tasks.head import of_dtype
from pipelines.train.adversarial import Adversary, table_of
from pipelines.train.device import HALVES, Device
from pipelines.train.dropout import hasten
from pipelines.train.elastic import HELD, Elastic
from pipelines.train.events import Update, added
from pipelines.train.exchange import Exchange
from pipelines.train.frozen import hasten_frozen
from pipelines.train.optimizers import by_value
from pipelines.train.owned import Owned, squares
from pipelines.train.randomness import Stream
from pipelines.train.rates import rates_of
from pipelines.train.recompute import recompute
from pipelines.train.shares import Part, Pieces
from pipelines.train.sparse import RowTable, by_rows
from pipelines.train.specs import StageSpec
from pipelines.train.weight_gradients import Clock, defer
from pipelines.train.zeros import Zeros


class Stage:
    """The chunks `spec.chunks` on one device."""

    def __init__(self, spec: StageSpec, device: Device, *, at_once: bool = False) -> None:
        """Build the chunks; `load` gives them their weights, in as many pieces as one likes.

        Args:
            at_once: compute weight gradients in the backward, by autograd, also where nothing runs again.
        """
        assert spec.train.recompute != "auto"
        device.settle()
        self.spec, self.device = spec, device
        model = skeleton(spec.model_config, model_class=spec.model_class, dtype=spec.dtype, adapter=spec.adapter)
        needed = spec.parameters
        self._missing = {*needed, *spec.units.constants}
        lay_out(model, self._missing, device.kind)
        named = dict(model.named_parameters())
        for name, parameter in named.items():
            parameter.requires_grad_(name in spec.trained and name in self._missing)
        borrowed = {name for names in spec.borrowed.values() for name in names}
        self.parameters = {n: named[n] for n in needed if n in spec.trained and n not in borrowed}
        """Those that this stage trains, by fully qualified name."""
        shared = {id(named[name]) for name in spec.shared}
        # What was held back once is pulled at in every step, whether a batch looks it up or not.
        rows = by_value(spec.train) and spec.train.ewc is None
        tables = by_rows(model, weight_decay=spec.train.weight_decay, but=shared) if rows else []
        hasten(model)
        hasten_frozen(model, self._missing)
        self._clock = Clock()
        self.exchange = Exchange(spec, device, model, self.parameters)
        """What it shares with other stages."""
        self._later = defer(model, self._clock, at_once=at_once or spec.train.recompute)
        if spec.train.recompute:
            recompute(model, spec.units.blocks, lambda: self._cut.moment())
        self._cut = Cut(model, spec.units)
        self._chunks = {c: Chunk.of(spec.units, *spec.bounds[c : c + 2]) for c in spec.chunks}
        self.owned, self.pieces = self._own(tables)
        self._ranks = Ranks(spec.adapter, model, self.parameters) if has_ranks(spec.adapter) else None
        self._elastic = None if spec.train.ewc is None else Elastic(spec.train.ewc.strength, self.parameters)
        self._zeros = Zeros(model, self.parameters) if spec.train.keep_zeros else None
        self._adversary: Adversary | None = None
        if spec.train.adversarial is not None:
            table = self.parameters.get(table_of(model, spec.units, spec.trained))
            self._adversary = None if table is None else Adversary(table, spec.train.adversarial.epsilon)
        last = spec.last_chunk in spec.chunks
        self.loss_sum = spec.head.loss_on(model) if last else spec.head.loss_sum
        """The loss of what the last chunk answers."""
        self._waiting: dict[tuple[int, int], tuple[list[Tensor], list[Tensor]]] = {}
        self._losses: dict[int, Tensor] = {}
        self._scores: Tensor | None = None

    def _own(self, tables: Sequence[RowTable]) -> tuple[Owned | None, Pieces | None]:
        """What updates the parameters: this stage's own optimizer, or parameter servers that own pieces of them."""
        spec = self.spec
        by_row = {id(table.table) for table in tables}
        self.table_names = tuple(name for name, p in self.parameters.items() if id(p) in by_row)
        """Those that are trained by rows."""
        if not spec.owners:
            return Owned(
                self.parameters, tables, train=spec.train, num_steps=spec.num_steps, device=self.device,
                rates=rates_of(spec.units, spec.train.layer_decay),
            ), None  # fmt: skip
        return None, Pieces(spec.owners, self.parameters, self.table_names, self.device)

    def load(self, values: Mapping[str, Tensor]) -> None:
        """Copy in parameters and buffers, by fully qualified name."""
        put(self._cut.model, values)
        self._missing.difference_update(values)

    def check_loaded(self) -> None:
        assert not self._missing, f"never loaded: {sorted(self._missing)[:3]}"

    # -- one step -------------------------------------------------------------------------------

    def forward(
        self, step: int, chunk: int, i: int, batch: Mapping[str, Tensor], received: Sequence[Tensor],
        target_weight: float,
    ) -> list[Tensor]:  # fmt: skip
        """Forward of micro-batch `i` through a chunk; returns what the next one needs (nothing from the last one).

        Args:
            batch: the micro-batch, inputs and labels, on the host.
            received: what the chunk before sent.
            target_weight: what the valid targets of the whole step weigh together; the loss is divided by it.
        """
        self._mode(training=True)
        arrived = [self.device.take(tensor) for tensor in received]
        if self.spec.trains_before(chunk):
            arrived = [tensor.requires_grad_() if tensor.is_floating_point() else tensor for tensor in arrived]
        here = self._here(batch)
        stream = Stream(self.spec.seed, step, i, self.device.kind)
        with self.device.precision(self.spec.train.precision):
            given = self._widened(arrived)
            output = self._cut.run(self._chunks[chunk], self.spec.head.inputs(here), given, stream)
        if chunk == self.spec.last_chunk:
            loss = self.loss_sum(output, here) / target_weight
            self._losses[i] = loss.detach()
            self._waiting[chunk, i] = (arrived, [self.source(loss)])
            return []
        self._waiting[chunk, i] = (arrived, output) if self.spec.trains(chunk) else ([], [])
        # Marked where gradients flow through: only that may lose precision on its way.
        return [tensor.detach().requires_grad_(tensor.requires_grad) for tensor in output]

    def source(self, loss: Tensor) -> Tensor:
        """What to go back from: the loss, scaled if need be; all gradients of one that is not finite are NaN.

        Otherwise some would be finite, and nobody would notice: nothing else looks at it before the update.
        """
        # Times 1, to the last bit, or times NaN; no number is fetched from the device for it.
        sound = loss * (1 + 0 * loss.detach())
        scale = None if self.owned is None else self.owned.scale
        return sound if scale is None else scale.times(sound)

    def backward(self, chunk: int, i: int, gradients: Sequence[Tensor]) -> list[Tensor]:
        """Backward of micro-batch `i` through a chunk; takes and gives the gradients of what the forward gave and took.

        One for each floating-point tensor, in their order; zeros where nothing depended on it. None at all where
        nothing before is trained.
        """
        arrived, sent = self._waiting.pop((chunk, i))
        if not self.spec.trains(chunk):
            return []
        self._clock.chunk, self._clock.micro_batch = chunk, i
        taken: list[Tensor] | None = None
        if gradients:
            floats = [tensor for tensor in sent if tensor.is_floating_point()]
            pairs = [(t, self.device.take(g)) for t, g in zip(floats, gradients, strict=True) if t.requires_grad]
            sent, taken = [t for t, _ in pairs], [g for _, g in pairs]
        with self.device.knows(self.spec.train.precision):
            torch.autograd.backward(sent, taken)
        return [_gradient(tensor) for tensor in arrived if tensor.requires_grad]

    def weights(self, chunk: int, i: int) -> None:
        """The weight gradients that a chunk's backwards of the micro-batches up to `i` left for later."""
        for layer in self._later:
            layer.compute(chunk, i)

    def noted(self) -> list[Tensor]:
        """What backwards left for weight gradients that are not computed yet; some may share memory."""
        return [tensor for layer in self._later for tensor in layer.noted()]

    def move(self) -> None:
        """Between two rounds of a step: move the table of embeddings to where the loss is higher, if it is here."""
        if self._adversary is not None:
            self._adversary.move()

    def put_back(self) -> None:
        """Behind the last round: the table of embeddings is bitwise what it was, if it was moved."""
        if self._adversary is not None:
            self._adversary.put_back()

    def add_penalties(self) -> tuple[float, ...]:
        """Add the gradients of what is added to the loss for the weights' own sake, and return its parts."""
        parts = [] if self._ranks is None else self._ranks.orthogonality()
        if self._elastic is not None:
            assert self.owned is not None
            parts += self._elastic.pull(self.owned.scale)
        return tuple(parts)

    def named_gradients(self) -> Iterator[tuple[str, Tensor]]:
        """This stage's gradients, on the host, each made when it is asked for; for whoever wants to compare them."""
        assert self.owned is not None
        return self.owned.named_gradients()

    def forget_gradients(self) -> None:
        """As `update` does, which is not to come."""
        assert self.owned is not None
        self.owned.forget_gradients()

    def squared_norms(self) -> list[float]:
        """Of each parameter's gradient, when all backwards and weight gradients are done.

        Where servers own the weights, of what this wave gives them. Weights that stay zero have none from here on.
        """
        if self._zeros is not None:
            self._zeros.keep()
        if self.owned is not None:
            return self.owned.squared_norms()
        gradients = (p.grad for p in self.parameters.values() if p.grad is not None)
        return squares(g._values() if g.is_sparse else g for g in gradients)

    def is_poisoned(self, norm: float) -> bool:
        """Whether gradients with this norm lead to no update, and no smaller loss scale will help."""
        return not math.isfinite(norm) if self.owned is None else self.owned.is_poisoned(norm)

    def update(self, step: int, norm: float) -> Update:
        """Clip by the global norm, step the optimizer, and forget the gradients.

        Args:
            norm: of the gradients as they are, with the loss scale in them. If it is not a finite number nothing
                changes but that scale.
        """
        assert self.owned is not None
        done = self.owned.update(step, norm)
        self._forget_casts()
        if self._ranks is not None and not done.skipped:
            self._scores = self._ranks.notice(step + 1)
        self.owned.forget_gradients()
        return done

    def take_values(self, server: int, parts: Iterable[tuple[int, Part]]) -> None:
        """Copy in what a parameter server has of the weights."""
        assert self.pieces is not None
        self.pieces.take_values(server, parts)
        self._forget_casts()

    def _forget_casts(self) -> None:
        for layer in self._later:
            layer.forget_cast()

    def rank_scores(self) -> list[Tensor] | None:
        """After an update: the scores of this stage's triplets where AdaLoRA's budget is allotted now."""
        scores, self._scores = self._scores, None
        return None if scores is None else [self.device.give(scores)]

    def num_masked(self, step: int) -> int:
        """How many triplets of the whole model are to be masked after step `step`."""
        assert self._ranks is not None
        return self._ranks.masked(step + 1)

    def mask_ranks(self, step: int, threshold: float) -> None:
        """Mask the triplets that score no higher."""
        assert self._ranks is not None
        self._ranks.mask(step + 1, threshold)

    def take_loss(self) -> float:
        """The step's loss (where the last chunk is): the micro-batches' parts added in their order."""
        losses, self._losses = self._losses, {}
        return added(float(losses[i]) for i in sorted(losses))

    # -- a step that is looked at ---------------------------------------------------------------

    @contextmanager
    def by_units(self) -> Iterator[None]:
        """While this lasts every unit is a chunk of its own, on the stage where it is. No step may be under way."""
        spec, chunks = self.spec, self._chunks
        sizes = [end - first for first, end in pairwise(spec.bounds)]
        stage_of = [stage for stage, size in zip(spec.stage_of, sizes, strict=True) for _ in range(size)]
        self.spec = replace(spec, bounds=tuple(range(len(spec.units) + 1)), stage_of=tuple(stage_of))
        self._chunks = {n: Chunk.of(spec.units, n, n + 1) for n in self.spec.chunks}
        try:
            yield
        finally:
            self.spec, self._chunks = spec, chunks

    @contextmanager
    def outputs(self) -> Iterator[list[Any]]:
        """A list that gets whatever the model answers with while this lasts."""
        found: list[Any] = []
        hook = self._cut.model.register_forward_hook(lambda _model, _inputs, output: found.append(output))
        try:
            yield found
        finally:
            hook.remove()

    def loss(self, i: int) -> float:
        """Micro-batch `i`'s part of the loss, where the last chunk is and has run it."""
        return float(self._losses[i])

    def gradients_here(self) -> Iterator[tuple[str, Tensor]]:
        """What parameters have of gradients as it is: not yet summed over places, rows, or other stages."""
        return ((name, p.grad) for name, p in self._cut.model.named_parameters() if p.grad is not None)

    def drop_gradients(self) -> None:
        """Forget all of them."""
        if self.owned is not None:
            self.owned.forget_gradients()
        for parameter in self._cut.model.parameters():
            parameter.grad = None

    # -- evaluation -----------------------------------------------------------------------------

    # Not inference_mode: some models keep a tensor that they made here for a training step, which would fail.
    @torch.no_grad()
    def evaluate(self, chunk: int, batch: Mapping[str, Tensor], received: Sequence[Tensor]) -> Any:
        """Forward without training; answers (a list of arrays, one a row) from the last chunk, else what to send."""
        self._mode(training=False)
        here = self._here(batch)
        with self.device.precision(self.spec.train.precision):
            given = self._widened([self.device.take(tensor) for tensor in received])
            output = self._cut.run(self._chunks[chunk], self.spec.head.inputs(here), given)
        if chunk == self.spec.last_chunk:
            return self.spec.head.answers(output, here)
        return output

    def _here(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A micro-batch on this device, its floating-point columns in the model's own precision."""
        here = {name: self.device.take(column) for name, column in batch.items()}
        return of_dtype(here, getattr(torch, self.spec.dtype))

    def _widened(self, arrived: list[Tensor]) -> list[Tensor]:
        """No autocast here will cast what a stage with one sent; its gradient goes back in the sender's precision."""
        if not self.spec.widens:
            return arrived
        own = getattr(torch, self.spec.dtype)
        return [tensor.to(own) if tensor.dtype in HALVES.values() else tensor for tensor in arrived]

    def _mode(self, *, training: bool) -> None:
        if self._cut.model.training != training:
            self._cut.model.train(training)

    # -- state ----------------------------------------------------------------------------------

    def named_weights(self) -> Iterator[tuple[str, Tensor]]:
        """The trained weights, on the host; on a CPU it is their own memory, good until the next step."""
        for name, parameter in self.parameters.items():
            yield name, self.device.give(parameter)

    def held(self) -> dict[str, Tensor]:
        """All parameters and buffers that it was given, as they are now: their own memory."""
        model, names = self._cut.model, {*self.spec.parameters, *self.spec.units.constants}
        named = chain(model.named_parameters(), model.named_buffers())
        return {name: tensor.detach() for name, tensor in named if name in names}

    def held_back(self) -> dict[str, Tensor]:
        """What `restore` was given to hold weights back; no part of what a checkpoint or a copy has."""
        return {} if self._elastic is None else self._elastic.state()

    def named_moments(self) -> Iterator[tuple[str, Tensor]]:
        """The optimizer's state as `NAME/KEY`, on the host, each made when it is asked for."""
        assert self.owned is not None
        yield from self.owned.named_moments()
        for key, value in (self._ranks.state() if self._ranks is not None else {}).items():
            yield key, self.device.give(value)

    def restore(self, moments: Mapping[str, Tensor]) -> None:
        """Take up an optimizer's state that `named_moments` gave, of this or of any other cut, all or a part of it.

        The weights must be there: rows of a table are trained as copies.
        """
        assert self.owned is not None
        others = {}
        for key, value in moments.items():
            name, _, kind = key.rpartition("/")
            if kind.startswith(HELD):
                assert self._elastic is not None
                self._elastic.take(name, kind, value)
            elif not kind.startswith(RANKED):
                others[key] = value
            elif name in self.parameters:
                assert self._ranks is not None
                self._ranks.restore(name, kind.removeprefix(RANKED), value.to(self.device.kind, copy=True))
        self.owned.restore(others)


def _gradient(tensor: Tensor) -> Tensor:
    # A tensor that a stage received but did not use has a gradient of zero, which must be sent all the same.
    return torch.zeros_like(tensor) if tensor.grad is None else tensor.grad
