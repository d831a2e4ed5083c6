"""Finds where a poisoned step's first number that is not finite came from: the step once more, unit by unit.

    stage 0   embeddings F | block 0 F |                          B block 0 | B embeddings      for each micro-batch
    stage 1                            | block 1 F | head F  loss  B head | B block 1
              each unit a chunk of its own, and everything that leaves one looked at

It is the same computation: dropout draws as before, no weight has changed, and results do not depend on the cut. Only
a step that has no update is run again, so that one that has costs nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_leaves

from pipelines.train.owned import squares
from pipelines.train.poison import Poison, Where
from pipelines.train.stage import Stage
from pipelines.train.transport import Tag, Want

Batch = Mapping[str, Tensor]
Take = Callable[[int, Tag], Generator[Want, list[Tensor], list[Tensor]]]
"""What a chunk left for the chunk of the tag."""
PassOn = Callable[[Any, int, int, int, Sequence[Tensor]], int]
"""Gives the next chunk its activations, or the one before its gradients."""


class Inquiry:
    """One stage's part in it; all stages of the replica take part at the same time."""

    def __init__(self, stage: Stage, take: Take, pass_on: PassOn) -> None:
        self._stage, self._take, self._pass_on = stage, take, pass_on

    def run(
        self, step: int, target_weight: float, batches: Mapping[int, Batch]
    ) -> Generator[Want, list[Tensor], Poison]:
        """
        Args:
            batches: the step's micro-batches, by their numbers.

        Returns:
            The first that this stage saw. Its gradients are forgotten.
        """
        stage = self._stage
        found = Poison.together(max(batches) + 1, moved=stage.spec.train.adversarial is not None)
        stage.drop_gradients()
        with stage.by_units():
            for i in sorted(batches):
                for poison in (
                    (yield from self._forward(step, i, batches[i], target_weight)),
                    (yield from self._backward(step, i)),
                ):
                    found = found if poison is None else min(found, poison)
        return found

    def _forward(
        self, step: int, i: int, batch: Batch, target_weight: float
    ) -> Generator[Want, list[Tensor], Poison | None]:
        stage, found = self._stage, None
        for n in stage.spec.chunks:
            received = yield from self._take(n - 1, Tag(step, "activations", i, n))
            with stage.outputs() as outputs:
                # Not the method of a worker of several, which meets the others: its micro-batches are its own.
                sent = Stage.forward(stage, step, n, i, batch, received, target_weight)
            if n < stage.spec.last_chunk:
                self._pass_on("forward", step, i, n, sent)
                if found is None and not all(map(_sound, sent)):
                    found = self._poison(i, Where.FORWARD, n)
            elif found is None and not math.isfinite(stage.loss(i)):
                # Of what the model answers with, only this counts: the rest may be stand-ins for what ran elsewhere.
                own = (leaf for leaf in tree_leaves(outputs) if isinstance(leaf, Tensor) and leaf.requires_grad)
                found = self._poison(i, Where.LOSS if all(map(_sound, own)) else Where.FORWARD, n)
        return found

    def _backward(self, step: int, i: int) -> Generator[Want, list[Tensor], Poison | None]:
        stage, found = self._stage, None
        for n in reversed(stage.spec.chunks):
            waits = stage.spec.trains(n) and n < stage.spec.last_chunk
            received = (yield from self._take(n + 1, Tag(step, "gradients", i, n))) if waits else []
            sent = Stage.backward(stage, n, i, received)
            stage.weights(n, i)
            if sent:
                self._pass_on("backward", step, i, n, sent)
            if found is None:
                names = [name for name, gradient in stage.gradients_here() if not _has_norm(gradient)]
                if names or not all(bool(gradient.isfinite().all()) for gradient in sent):
                    # They come in the order of the model, and the backward met the last of them first.
                    found = self._poison(i, Where.BACKWARD, n, *names[-1:])
            stage.drop_gradients()
        return found

    def _poison(self, i: int, where: Where, n: int, parameter: str = "") -> Poison:
        turn = -n if where is Where.BACKWARD else n
        return Poison(i, where, turn, self._stage.spec.units.all[n].name, parameter)


def _sound(tensor: Tensor) -> bool:
    """Whether its numbers are finite. A mask, which has no gradient, may say minus infinity."""
    if not tensor.is_floating_point():
        return True
    fine = tensor.isfinite()
    return bool((fine if tensor.requires_grad else fine | (tensor == -math.inf)).all())


def _has_norm(gradient: Tensor) -> bool:
    return all(map(math.isfinite, squares([gradient._values() if gradient.is_sparse else gradient])))
