"""AdaLoRA over stages: one budget, one threshold and every matrix's orthogonality, wherever the matrices sit.

    W + B diag(E) A     a triplet is a row of A, a value of E and a column of B; masking its E lowers the rank

AdaLoRA (Zhang et al. 2023, sections 3.1 to 3.3) is a global algorithm: all triplets of the model compete for one
budget, and the loss has a term that keeps every A and B orthogonal. A stage that ran PEFT's own on what it holds
would compare its triplets with each other only, and on all stages but the last there is no loss to add to.

Here a stage scores its own triplets by PEFT's own formulas (`RankAllocator`), the scores meet on stage 0, which
finds the threshold among all of them and tells it, and each stage masks what lies below. The orthogonality term of a
matrix depends on that matrix alone, so its owner adds its gradient, once a step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

RANKED = "adalora_"
STATES = ("ipt", "uncertainty", "kept")
"""What of this is saved beside an optimizer's state, as NAME/adalora_KEY."""
_KEPT = f"/{RANKED}kept"


def has_ranks(config: Any) -> bool:
    """Whether `config` (PEFT's, or None) is AdaLoRA's."""
    return getattr(config, "peft_type", None) == "ADALORA"


class Ranks:
    """The triplets whose parameters one stage trains."""

    def __init__(self, config: Any, model: nn.Module, own: Mapping[str, nn.Parameter]) -> None:
        """
        Args:
            config: PEFT's AdaLoraConfig, with the number of steps of the whole run.
            model: with all of its adapter layers, if only as stand-ins: the budget is for all of them.
            own: this stage's trained parameters by fully qualified name.
        """
        from peft.tuners.adalora.layer import RankAllocator

        from pipelines.adapt.with_peft import NAME

        self._config, self._own = config, _Named({n: p for n, p in own.items() if "lora_" in n})
        self._allocator = RankAllocator(model, config, NAME)
        self._matrices = [name for name, _ in model.named_parameters() if "lora_A" in name or "lora_B" in name]
        self._kept: dict[str, Tensor] = {}
        self._scores: dict[str, Tensor] = {}

    def orthogonality(self) -> list[float]:
        """Add the gradients of this stage's part of the orthogonality term, and return its values, one a matrix."""
        weight = self._config.orth_reg_weight / len(self._matrices)
        parts = []
        for name, p in self._own.named_parameters():
            if "lora_A" in name or "lora_B" in name:
                gram = p @ p.T if "lora_A" in name else p.T @ p
                term = weight * torch.norm(gram - torch.eye(len(gram), dtype=p.dtype, device=p.device), p="fro")
                term.backward()
                parts.append(float(term.detach()))
        return parts

    def notice(self, step: int) -> Tensor | None:
        """Take the gradients and weights after update number `step` (the first is 1) into the scores.

        Returns:
            The scores of this stage's triplets [triplets] where this is a step at which the budget is allotted;
            None on all others.
        """
        last = self._config.total_step - self._config.tfinal
        if step < last:
            self._allocator.update_ipt(self._own)
        elif step > last:
            self._mask()
        _, due = self._allocator.budget_schedule(step)
        if step > last or not (due or step == last):
            return None
        self._scores = dict(self._scored())
        return torch.cat([*self._scores.values(), torch.empty(0)])

    def masked(self, step: int) -> int:
        """How many of the whole model's triplets the budget of `step` leaves no room for."""
        budget, _ = self._allocator.budget_schedule(step)
        return int(self._allocator.init_bgt - budget)

    def mask(self, step: int, threshold: float) -> None:
        """Mask this stage's triplets whose score is not above `threshold`."""
        self._kept = {name: score > threshold for name, score in self._scores.items()}
        self._mask()
        if step == self._config.total_step - self._config.tfinal:
            self._allocator.reset_ipt()

    def state(self) -> dict[str, Tensor]:
        """NAME/adalora_KEY -> value, for a checkpoint."""
        parts = (self._allocator.exp_avg_ipt, self._allocator.exp_avg_unc, self._kept)
        return {
            f"{name}/{RANKED}{key}": value
            for key, part in zip(STATES, parts, strict=True)
            for name, value in part.items()
        }

    def restore(self, name: str, key: str, value: Tensor) -> None:
        """Take up one KEY of what `state` gave of a parameter."""
        parts = (self._allocator.exp_avg_ipt, self._allocator.exp_avg_unc, self._kept)
        parts[STATES.index(key)][name] = value
        if key == "ipt":
            # PEFT takes a parameter that it has no last importance of for a new one.
            self._allocator.ipt[name] = torch.zeros_like(value)

    def _scored(self) -> Iterator[tuple[str, Tensor]]:
        """Of each `lora_E` [ranks, 1] the scores of its triplets [ranks]: equation 7 of the paper, as PEFT sums it."""
        score: Callable[[str], Tensor] = self._allocator._element_score
        for name, _ in self._own.named_parameters():
            if "lora_E" not in name:
                continue
            a = torch.mean(score(name.replace("lora_E", "lora_A")), dim=1, keepdim=True)
            b = torch.mean(score(name.replace("lora_E", "lora_B")), dim=0).view(-1, 1)
            yield name, self._allocator._combine_ipt(score(name), torch.cat([a, b], dim=1))

    @torch.no_grad()
    def _mask(self) -> None:
        for name, p in self._own.named_parameters():
            if name in self._kept:
                p.masked_fill_(~self._kept[name].view(-1, 1).to(p.device), 0.0)


def ranks_left(moments: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Of each `lora_E` which of its ranks are left [ranks], from what a stage's state holds beside the weights."""
    return {key.removesuffix(_KEPT): value.view(-1) for key, value in moments.items() if key.endswith(_KEPT)}


def threshold(scores: list[Tensor], masked: int) -> float:
    """The score of the `masked`-th lowest of all triplets; below all of them where none is to be masked."""
    return float(torch.kthvalue(torch.cat(scores), masked)[0]) if masked else float("-inf")


class _Named:
    """As much of a module as PEFT's allocator looks at."""

    def __init__(self, parameters: Mapping[str, nn.Parameter]) -> None:
        self._parameters = parameters

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        yield from self._parameters.items()
