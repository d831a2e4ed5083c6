"""The plain model: transformers' own forward and loss, torch's own optimizer and clipping, one process."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pipelines.config import TrainConfig
from pipelines.errors import UserError
from pipelines.model.examples import num_targets
from pipelines.tasks.own_loss import OwnLoss

Batch = Mapping[str, Tensor]


class Plain:
    """A whole model, and the micro-batches that every step trains it on."""

    def __init__(
        self, model: nn.Module, task: str, batches: Sequence[Batch], train: TrainConfig, *, around: Any = None
    ) -> None:
        """
        Args:
            around: what is called in place of `model`: PEFT's model around it, with whatever that adds to the loss.
        """
        self._model, self._batches, self._train, self._head = model, batches, train, OwnLoss(task)
        self._around: Any = model if around is None else around
        self._counts = [num_targets(batch, task) for batch in batches]
        self.num_targets = sum(self._counts)
        self._optimizer: torch.optim.Optimizer | None = None
        self.quietest: dict[str, Tensor] = {}
        """For each value of each parameter the smallest gradient over all steps, against the step's largest."""

    @torch.no_grad()
    def logits(self) -> dict[str, Tensor]:
        """Of every row, without training.

        Raises:
            UserError: the model cannot run on these micro-batches, or gives no loss to train with.
        """
        self._model.eval()
        found: dict[str, Tensor] = {}
        for i, batch in enumerate(self._batches):
            output = self._try(batch)
            rows = self._head.answers(output, batch)
            found |= {f"micro-batch {i} row {r}": torch.as_tensor(row) for r, row in enumerate(rows)}
        return found

    def float32_inside(self) -> bool:
        """Whether the forward makes single-precision numbers on its way."""
        seen = _Float32()  # type: ignore[no-untyped-call]
        with seen, torch.no_grad():
            self._model(**self._batches[0])
        return seen.found

    def backward(self) -> float:
        """Add the gradients of the mean loss over all targets, and return that loss."""
        self._model.train()
        losses = []
        for batch, count in zip(self._batches, self._counts, strict=True):
            if count:
                mean = self._around(**batch).loss
                # Many models compute it in float32 whatever their own precision is.
                loss = mean.to(torch.promote_types(mean.dtype, self._dtype)) * count / self.num_targets
                loss.backward()
                losses.append(float(loss.detach()))
        return math.fsum(losses)

    def gradients(self) -> dict[str, Tensor]:
        return {name: p.grad.clone() for name, p in self._model.named_parameters() if p.grad is not None}

    def forget_gradients(self) -> None:
        self._model.zero_grad(set_to_none=True)

    def step(self, number: int) -> float:
        """One update; returns the loss before it.

        Args:
            number: of the step, the first is 0; AdaLoRA's budget goes by it.
        """
        self._optimizer = self._optimizer or self._make_optimizer()
        loss = self.backward()
        self._listen()
        if self._train.clip is not None:
            torch.nn.utils.clip_grad_norm_(self._model.parameters(), self._train.clip)
        self._optimizer.step()
        if getattr(self._around, "peft_type", None) == "ADALORA":
            self._around.base_model.update_and_allocate(number + 1)
        self.forget_gradients()
        return loss

    def weights(self) -> dict[str, Tensor]:
        return {name: p.detach() for name, p in self._model.named_parameters()}

    @property
    def _dtype(self) -> torch.dtype:
        return next(p.dtype for p in self._model.parameters() if p.is_floating_point())

    def _try(self, batch: Batch) -> Any:
        name = type(self._model).__name__
        try:
            output = self._model(**batch)
        except Exception as error:
            # Whatever the model's own code makes of an input that it was not meant for.
            raise UserError(
                f"{name} cannot be tried out: on an input made up from its configuration it fails with "
                f"{type(error).__name__}: {' '.join(str(error).split())[:200]}. Name another task with --task."
            ) from error
        loss = getattr(output, "loss", None)
        if loss is None or not torch.isfinite(loss).all():
            found = "no loss" if loss is None else f"the loss {loss.tolist()}"
            raise UserError(f"{name} cannot be tried out: it answers with {found}. Name another task with --task.")
        return output

    def _listen(self) -> None:
        gradients = {name: p.grad.abs() for name, p in self._model.named_parameters() if p.grad is not None}
        top = max((float(g.max()) for g in gradients.values()), default=0.0) or 1.0
        for name, gradient in gradients.items():
            # A gradient of exactly 0 is no rounding: nothing depends on the value.
            heard = torch.where(gradient > 0, gradient / top, math.inf)
            before = self.quietest.get(name)
            self.quietest[name] = heard if before is None else torch.minimum(before, heard)

    def _make_optimizer(self) -> torch.optim.Optimizer:
        train, parameters = self._train, [p for p in self._model.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": train.weight_decay},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=train.learning_rate, betas=train.betas, eps=train.eps)


class _Float32(TorchDispatchMode):
    """Notices single-precision results."""

    found = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        self.found |= any(isinstance(leaf, Tensor) and leaf.dtype == torch.float32 for leaf in tree_leaves(output))
        return output
