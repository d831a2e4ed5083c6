"""A model of transformers whose forward is computed elsewhere, by stages that hold its weights.

It stays what it was for whoever asks it: predictors read its configuration, and `generate` writes with it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput
from transformers.utils.generic import ModelOutput

from pipelines.inference.network import Elsewhere
from pipelines.model.load import without_caches
from pipelines.tasks.head import Batch, Head

ANSWERS = ("logits", "start_logits", "end_logits", "last_hidden_state")
"""What predictors look at of a model's output."""
LAST = "only_last"
"""A column of a batch: of every row only what is said of the last sub-word is wanted."""

Ask = Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]
"""From the columns of a batch [rows, ...] to those of ANSWERS that the model gives, [rows, ...]."""


@dataclass(frozen=True, slots=True)
class Answers(Head):
    """Gives a model's answers as they are; nothing is learnt."""

    def inputs(self, batch: Batch) -> dict[str, Tensor]:
        return {name: column for name, column in batch.items() if name != LAST}

    def loss_sum(self, output: Any, batch: Batch) -> Tensor:
        raise NotImplementedError("what is served is not trained")

    def answers(self, output: Any, batch: Batch) -> list[dict[str, Tensor]]:
        """Of every row its answers by name, on the host, in float32."""
        named = {name: output[name].float().cpu() for name in ANSWERS if name in output}
        if LAST in batch:
            named = {name: value[:, -1:] for name, value in named.items()}
        rows = len(next(iter(named.values())))
        # Copies: what is sent of a view is all that it is a view of.
        return [{name: value[row].clone() for name, value in named.items()} for row in range(rows)]


class _Unread(nn.Module):
    """Stands where `generate` has the encoder read: the stages read what is to be translated with every sub-word, so it
    is kept where otherwise stands what the encoder says of it."""

    def forward(self, input_ids: Tensor, **kwargs: Any) -> BaseModelOutput:  # noqa: ARG002
        return BaseModelOutput(last_hidden_state=input_ids[..., None])


def together(rows: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """What `Answers` gives of rows, as a batch."""
    return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}


def compute_elsewhere(model: PreTrainedModel, ask: Ask, *, takes: Collection[str]) -> None:
    """Have the model's answers computed by `ask` from now on; its own weights are gone then.

    Texts are written without a cache of what was read: every sub-word costs a pass over all before it.

    Args:
        takes: the columns that `ask` takes.
    """
    without_caches(model)
    if model.can_generate():
        model.generation_config.use_cache = False
    # Any: a class is made here, which the type checker cannot follow.
    emptied: Any = model
    plain: Any = type(model)

    @wraps(plain.forward)
    def forward(self: Any, *args: Any, **inputs: Any) -> ModelOutput:  # noqa: ARG001
        assert not args, "whoever asks names what it gives"
        if (read := inputs.get("encoder_outputs")) is not None:
            inputs["input_ids"] = read.last_hidden_state[..., 0]
        given = {name: inputs[name].cpu() for name in takes if isinstance(inputs.get(name), Tensor)}
        if inputs.get("logits_to_keep") == 1:
            given[LAST] = torch.ones(len(next(iter(given.values()))), dtype=torch.bool)
        return ModelOutput(**ask(given))

    # The same name, by which the library knows what kind of model it is.
    names = {
        "forward": forward,
        "device": property(lambda _: torch.device("cpu")),
        "get_encoder": lambda _: _Unread(),
    }
    emptied.__class__ = type(plain.__name__, (Elsewhere, plain), names)
    emptied.to("meta")
