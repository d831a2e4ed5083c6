"""Try one pair: the plain model, and the same model cut into two and into three stages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pipelines.config import TrainConfig
from pipelines.errors import UserError
from pipelines.model.examples import example_batches, num_targets
from pipelines.model.units import Units, find_units
from pipelines.model.verify import verify
from pipelines.plan.partition import solve
from pipelines.tasks.own_loss import OwnLoss
from tests.census.catalog import CannotBuild, Pair, build, dtype_of, trains
from tests.unit.pipelines.one_process import OneProcess

Verdict = Literal["equal", "equal in float32", "refused", "wrong", "does not train", "cannot be built"]
Batch = dict[str, Tensor]

BOUND = 1e-10
"""Largest relative difference of the loss and of every gradient, in float64."""
BOUND_32 = 1e-4
"""The same for models that compute in float32 on the way, relative to a thousandth of the largest gradient at least."""


@dataclass(frozen=True, slots=True)
class Outcome:
    pair: Pair
    verdict: Verdict
    note: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """The loss and the gradients of three micro-batches of several lengths."""

    loss: float
    gradients: Mapping[str, Tensor]


def tried(pair: Pair) -> Outcome:
    """What becomes of a pair."""
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
    expected = plain(model, batches, pair.head)
    try:
        units = find_units(model, batches[0])
        # Units count alike here: the cut is to go through the middle, not around an embedding table.
        cuts = [solve([1.0] * len(units), stages) for stages in (2, 3) if stages <= len(units)]
        for cut in cuts:
            verify(model, units, cut, batches[0])
    except UserError as error:
        return Outcome(pair, "refused", str(error))
    rough = False
    for cut in cuts:
        found = in_stages(model, units, cut, batches, pair)
        worst, name = difference(found, expected, floor=1e-5)
        if worst > BOUND:
            rough = computes_in_float32(model, batches[0])
            worst, name = difference(found, expected, floor=1e-3) if rough else (worst, name)
            if not rough or worst > BOUND_32:
                return Outcome(pair, "wrong", f"{len(cut) + 1} stages: {name} differs by {worst:.1e}")
    return Outcome(pair, "equal in float32" if rough else "equal", f"{len(units)} units")


def plain(model: nn.Module, batches: Sequence[Batch], head: str) -> Result:
    """Hugging Face's own forward and loss; micro-batches weigh by their targets."""
    total = sum(num_targets(batch, head) for batch in batches)
    model.train()
    model.zero_grad()
    losses = [model(**batch).loss.double() * num_targets(batch, head) for batch in batches if num_targets(batch, head)]
    loss = torch.stack(losses).sum() / total
    loss.backward()
    return Result(float(loss.detach()), {n: p.grad for n, p in model.named_parameters() if p.grad is not None})


def in_stages(model: nn.Module, units: Units, cut: Sequence[int], batches: Sequence[Batch], pair: Pair) -> Result:
    """One step without its update, on stages that hold their own parameters only."""
    dtype = str(dtype_of(pair)).removeprefix("torch.")
    run = OneProcess(model, cut=cut, train=TrainConfig(), dtype=dtype, head=OwnLoss(pair.head), units=units)
    total = sum(num_targets(batch, pair.head) for batch in batches)
    loss = run.step(0, batches, num_targets=total, update=False)
    return Result(loss, {name: gradient for stage in run.stages for name, gradient in stage.gradients().items()})


def difference(found: Result, expected: Result, *, floor: float) -> tuple[float, str]:
    """The largest relative difference and where it is.

    Relative to the tensor's own largest value, or to `floor` times the largest gradient of all where that
    is more: some gradients are nothing but rounding.
    """
    top = max(float(gradient.abs().max()) for gradient in expected.gradients.values())
    worst, name = abs(found.loss - expected.loss) / abs(expected.loss), "the loss"
    for parameter, gradient in expected.gradients.items():
        mine = found.gradients.get(parameter, torch.zeros_like(gradient))
        size = max(float(gradient.abs().max()), floor * top)
        relative = float((mine - gradient).abs().max()) / size
        if relative != relative:
            return float("inf"), parameter
        if relative > worst:
            worst, name = relative, parameter
    return worst, name


def computes_in_float32(model: nn.Module, batch: Batch) -> bool:
    """Whether the model makes float32 numbers of its float64 ones on the way: its results are no better then."""
    with _Precision() as precision, torch.no_grad():
        model(**batch)
    return precision.single


class _Precision(TorchDispatchMode):
    single = False

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        output = func(*args, **(kwargs or {}))
        leaves = tree_leaves(output)
        self.single |= any(isinstance(leaf, Tensor) and leaf.dtype == torch.float32 for leaf in leaves)
        return output
