"""Try one pair: the plain model, and the same model cut into two and three stages, and once inside a block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from pipelines.check.compare import BOUNDS, MIXED, Bounds, Difference, difference
from pipelines.check.plain import Plain
from pipelines.config import TrainConfig
from pipelines.errors import UserError
from pipelines.model.examples import example_batches, num_targets
from pipelines.model.units import Units, find_units
from pipelines.model.verify import verify
from pipelines.plan.partition import cut_at
from pipelines.tasks.own_loss import OwnLoss
from tests.census.catalog import CannotBuild, Pair, build, dtype_of, trains
from tests.unit.pipelines.one_process import OneProcess

Verdict = Literal["equal", "equal in float32", "refused", "wrong", "does not train", "cannot be built"]
Batch = dict[str, Tensor]
TRAIN = TrainConfig()
Result = tuple[float, dict[str, Tensor]]
"""The loss and the gradients of three micro-batches of several lengths."""


@dataclass(frozen=True, slots=True)
class Outcome:
    pair: Pair
    verdict: Verdict
    note: str = ""
    divided: bool = False
    """Whether it was also cut inside a block, with equal results."""


def tried(pair: Pair, train: TrainConfig = TRAIN) -> Outcome:
    """What becomes of a pair, cut and trained as `train` says; the plain model is trained in the plain way."""
    try:
        model = build(pair, dtype=dtype_of(pair))
    except CannotBuild as error:
        return Outcome(pair, "cannot be built", str(error))
    try:
        batches = example_batches(model, pair.head)
    except UserError as error:
        return Outcome(pair, "does not train", str(error))
    if reason := trains(model, batches):
        return Outcome(pair, "does not train", reason)
    model.config.use_cache = False
    plain = Plain(model, pair.head, batches, TrainConfig())
    expected = plain.backward(), plain.gradients()
    plain.forget_gradients()
    try:
        units = find_units(model, batches[0])
        # Units count alike here: the cut is to go through the middle, not around an embedding table.
        costs, whole = [1.0] * len(units), units.between_blocks
        cuts = [cut_at(costs, whole, stages) for stages in (2, 3) if stages <= len(whole) + 1]
        for cut in cuts:
            verify(model, units, cut, batches[0])
    except UserError as error:
        return Outcome(pair, "refused", str(error))
    inside = _inside(model, units, batches[0])
    rough = False
    for cut in [*cuts, *inside]:
        found = in_stages(model, units, cut, batches, pair, train)
        apart = _differing(found, expected, BOUNDS["float64"])
        if apart and plain.float32_inside():
            rough, apart = True, _differing(found, expected, MIXED)
        if apart:
            where = f"cut before {' and '.join(units.all[k].name for k in cut)}"
            return Outcome(pair, "wrong", f"{where}: {apart[0].first} differs by {apart[0].largest:.1e}")
    verdict: Verdict = "equal in float32" if rough else "equal"
    return Outcome(pair, verdict, f"{len(units)} units", divided=bool(inside))


def _inside(model: nn.Module, units: Units, batch: Batch) -> list[list[int]]:
    """One cut into two stages in the middle of a block, unless no block is divided or the pieces are refused."""
    if not units.inside_blocks:
        return []
    cut = cut_at([1.0] * len(units), units.inside_blocks, 2)
    try:
        verify(model, units, cut, batch)
    except UserError:
        return []
    return [cut]


def in_stages(
    model: nn.Module, units: Units, cut: Sequence[int], batches: Sequence[Batch], pair: Pair, train: TrainConfig
) -> Result:
    """One step without its update, on stages that hold their own parameters only."""
    dtype = str(dtype_of(pair)).removeprefix("torch.")
    run = OneProcess(model, cut=cut, train=train, dtype=dtype, head=OwnLoss(pair.head), units=units)
    total = sum(num_targets(batch, pair.head) for batch in batches)
    loss = run.step(0, batches, num_targets=total, update=False)
    return loss, {name: gradient for stage in run.stages for name, gradient in stage.named_gradients()}


def _differing(found: Result, expected: Result, bounds: Bounds) -> list[Difference]:
    loss = difference("loss", *({"the loss": torch.tensor(side[0])} for side in (found, expected)), bounds)
    return [apart for apart in (loss, difference("gradients", found[1], expected[1], bounds)) if not apart.ok]
