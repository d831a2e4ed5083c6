"""One parameter server: pieces of parameters, with their optimizer, that all replicas train together.

    wave 0 of step s   stage 0 ─┐                                     ┌▶ values of version s + 1
                       stage 1 ─┼▶ + in the order of stages ─┐        │
    wave 1 of step s   stage 0 ─┼▶ + ────────────────────────┴▶ + in the order of waves ─▶ norm ─▶ update
                       stage 1 ─┘

Plain torch, no messages. The gradients of a step are added in one order, whoever sent them first, so that the sum
does not depend on which replica ran which wave.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from pipelines.config import TrainConfig
from pipelines.model.load import DTYPES
from pipelines.train.device import Device
from pipelines.train.owned import Owned, squares
from pipelines.train.parameter_shards import Piece
from pipelines.train.shares import Part, WaveNumbers
from pipelines.train.sparse import RowTable, rows_of


@dataclass(frozen=True, slots=True)
class ServerSpec:
    """All that a parameter server must know of the run to build itself."""

    server: int
    num_servers: int
    pieces: tuple[Piece, ...]
    """What it owns."""
    tables: frozenset[str]
    """Names of parameters that a stage of some replica trains by rows."""
    dtype: str
    train: TrainConfig
    num_steps: int
    """Updates of the whole run, for the learning rate."""
    version: int
    """Updates that were done before: where a resumed run goes on."""
    in_order: bool
    """Whether update `s` is of step `s`; otherwise steps are applied as they come."""
    copy_every: int
    """Updates from one copy of what it owns to the next."""
    settled: bool
    """Whether nobody may still be reading the weights when an update comes, so that they need not be copied."""
    rates: Mapping[str, float]
    """What the learning rate is multiplied by, by the parameter's name; 1 for those that are not there."""


@dataclass(frozen=True, slots=True)
class ServerReport:
    """What an update was like; every server has the same but the bytes."""

    server: int
    version: int
    """Updates done, with this one."""
    step: int
    """The step whose gradients it took."""
    grad_norm: float
    """Of all gradients, before clipping."""
    skipped: bool
    """That norm is no finite number: this version has the weights of the one before."""
    staleness: tuple[int, ...]
    """For each wave, how many updates came between the weights that it was computed with and this one."""
    end: float
    """When the update was done, in seconds since the epoch."""
    bytes_sent: int
    """By this server since the update before."""


@dataclass(slots=True)
class _Gathering:
    """The gradients of one step, as far as they are here."""

    num_waves: int
    versions: list[int] = field(default_factory=list)
    """Of the waves that were added."""
    total: dict[int, Tensor] = field(default_factory=dict)
    """By the number of the piece; sparse where it is a table trained by rows."""
    waiting: dict[int, dict[int, tuple[WaveNumbers, list[tuple[int, Part]]]]] = field(default_factory=dict)
    """By wave and stage, what could not be added yet."""


class ParameterServer:
    """What it owns, and the gradients that came for it."""

    def __init__(self, spec: ServerSpec, device: Device) -> None:
        device.settle()
        self.spec, self.version = spec, spec.version
        self._device = device
        self._missing = {piece.key for piece in spec.pieces}
        parameters = {
            piece.key: nn.Parameter(torch.empty(piece.shape, dtype=DTYPES[spec.dtype], device=device.kind))
            for piece in spec.pieces
        }
        self._named, self._parameters = parameters, list(parameters.values())
        self._tables = {
            at: RowTable(self._parameters[at]) for at, piece in enumerate(spec.pieces) if piece.name in spec.tables
        }
        self._owned = Owned(
            parameters,
            list(self._tables.values()),
            train=spec.train,
            num_steps=spec.num_steps,
            device=device,
            rates={piece.key: spec.rates[piece.name] for piece in spec.pieces if piece.name in spec.rates},
        )
        self._gathered: dict[int, _Gathering] = {}
        self._parts: dict[int, Part] = {}
        """What `values` gave since the last update."""

    # -- the state ------------------------------------------------------------------------------

    @torch.no_grad()
    def load(self, values: Mapping[str, Tensor]) -> None:
        """Copy in what is owned of whole parameters, by fully qualified name."""
        for piece in self.spec.pieces:
            if piece.name in values:
                self._named[piece.key].copy_(piece.of(values[piece.name]))
                self._missing.discard(piece.key)

    def check_loaded(self) -> None:
        assert not self._missing, f"never loaded: {sorted(self._missing)[:3]}"

    def restore(self, moments: Mapping[str, Tensor]) -> None:
        """Take up the optimizer's state of whole parameters, as NAME/KEY, all or a part of it, after the weights."""
        for key, value in moments.items():
            name, _, kind = key.rpartition("/")
            own = [piece for piece in self.spec.pieces if piece.name == name]
            self._owned.restore({f"{piece.key}/{kind}": piece.of(value) for piece in own})

    @torch.no_grad()
    def take_up(self, weights: Mapping[str, Tensor], moments: Mapping[str, Tensor]) -> None:
        """Copy in what `named_weights` and `named_moments` of this server, or of one that owned the same, gave."""
        for key, value in weights.items():
            self._named[key].copy_(value)
            self._missing.discard(key)
        self._owned.restore(moments)

    def named_weights(self) -> Iterator[tuple[str, Tensor]]:
        """The weights by the pieces' keys, on the host: their own memory, good until the next update."""
        for key, parameter in self._named.items():
            yield key, self._device.give(parameter)

    def named_moments(self) -> Iterator[tuple[str, Tensor]]:
        """The optimizer's state as KEY/KIND, each made when it is asked for."""
        return self._owned.named_moments()

    # -- steps ----------------------------------------------------------------------------------

    def push(self, step: int, wave: int, numbers: WaveNumbers, parts: list[tuple[int, Part]]) -> list[float] | None:
        """Take one stage's gradients of a wave.

        Returns:
            The squared norms of the step's gradients, one a piece, when these were the last of them.
        """
        gathering = self._gathered.setdefault(step, _Gathering(numbers.num_waves))
        gathering.waiting.setdefault(wave, {})[numbers.stage] = (numbers, parts)
        while (turn := gathering.waiting.get(len(gathering.versions), {})) and len(turn) == self._stages(turn):
            of_wave: dict[int, Tensor] = {}
            for stage in sorted(turn):
                self._add(of_wave, turn[stage][1])
            self._add(gathering.total, list(of_wave.items()))
            del gathering.waiting[len(gathering.versions)]
            known = [numbers.version for numbers, _ in turn.values() if numbers.version >= 0]
            gathering.versions.append(min(known, default=self.version))
        if len(gathering.versions) < gathering.num_waves:
            return None
        return squares(g._values() if g.is_sparse else g for g in gathering.total.values())

    def missing(self) -> str:
        """What the next update waits for, in words."""
        parts = []
        for step, gathering in sorted(self._gathered.items()):
            for wave in range(len(gathering.versions), gathering.num_waves):
                here = gathering.waiting.get(wave, {})
                parts.append(f"wave {wave} of step {step}" + (f" (stages {sorted(here)} sent theirs)" if here else ""))
        return ", ".join(parts) or "any gradient"

    def update(self, step: int, norm: float, *, bytes_sent: int = 0) -> ServerReport:
        """Update with the gradients of `step`, when all of them are here; makes the next version.

        Args:
            norm: of the gradients of all servers; the weights stay as they were if it is not a finite number.
            bytes_sent: since the update before, for the report.
        """
        gathering = self._gathered.pop(step)
        for at, gradient in gathering.total.items():
            self._parameters[at].grad = gradient
        self._owned.collect()
        done = self._owned.update(self.version, norm)
        self._owned.forget_gradients()
        self._parts.clear()
        staleness = tuple(self.version - version for version in gathering.versions)
        self.version += 1
        return ServerReport(
            self.spec.server, self.version, step, done.grad_norm, done.skipped, staleness, time.time(), bytes_sent
        )

    def values(self, held: Iterable[int]) -> list[tuple[int, Part]]:
        """The weights of some pieces; of tables that are trained by rows, the rows that were ever looked up."""
        found = []
        for at in held:
            part = self._parts.get(at)
            if part is None:
                part = self._value(at)
                if not self.spec.settled:
                    # On its way it may be overtaken by the next update.
                    part = part.clone() if isinstance(part, Tensor) else (part[0], part[1].clone())
                self._parts[at] = part
            found.append((at, part))
        return found

    def _value(self, at: int) -> Part:
        if at in self._tables:
            rows, values = self._tables[at].seen()
            return self._device.give(rows), self._device.give(values)
        return self._device.give(self._parameters[at])

    def _add(self, total: dict[int, Tensor], parts: Iterable[tuple[int, Part]]) -> None:
        for at, part in parts:
            gradient = self._gradient(at, part)
            if at not in total:
                total[at] = gradient
            elif gradient.is_sparse:
                total[at] = (total[at] + gradient).coalesce()
            else:
                # The memory of a message belongs to whoever got it.
                total[at] += gradient

    def _gradient(self, at: int, part: Part) -> Tensor:
        if isinstance(part, Tensor):
            if part.is_sparse or at not in self._tables:
                return part if part.is_sparse else self._device.take(part)
            # Where a replica is cut so that several stages use the table, they send all of it.
            part = rows_of(part)
        rows, values = (self._device.take(tensor) for tensor in part)
        shape = self.spec.pieces[at].shape
        sparse = torch.sparse_coo_tensor(rows[None], values, shape, is_coalesced=True, check_invariants=False)
        return sparse if at in self._tables else sparse.to_dense()

    @staticmethod
    def _stages(turn: Mapping[int, tuple[WaveNumbers, list[tuple[int, Part]]]]) -> int:
        return next(iter(turn.values()))[0].num_stages
