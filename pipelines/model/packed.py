"""Whether texts may share a row of a model's input: each has to be read as if it stood alone."""

from __future__ import annotations

import inspect
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from pipelines.errors import UserError
from pipelines.model.load import config_of
from pipelines.model.trace import left_as_it_was

CLOSE = 1e-3
"""Largest difference to a text that stands alone, as a share of the largest number there: more than rounding through
many layers, and far less than another position makes."""


def refuse_unpackable(model: nn.Module, probe: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Read two texts side by side, and by themselves.

    Args:
        probe: two texts of unlike lengths, `input_ids` and `attention_mask` [2, length], padded at the end.

    Returns:
        Both in one row, with a sub-word of padding: `input_ids` and `position_ids` [1, length].

    Raises:
        UserError: a text reads the one before it, or another answer comes than where it stands alone.
    """
    name = type(model).__name__
    ways = "Use data.packing=false, or another model (Llama, Qwen, Mistral, GPT-2 and most newer ones can)."
    if "position_ids" not in inspect.signature(model.forward).parameters:
        raise UserError(
            f"With data.packing positions begin anew with each text of a row, and {name} takes no position_ids. {ways}"
        )
    texts = [ids[mask.bool()] for ids, mask in zip(probe["input_ids"], probe["attention_mask"], strict=True)]
    first, second = texts
    split = len(first)
    # Any other sub-words.
    other = (first + 1) % config_of(model).vocab_size
    together = _side_by_side([first, second])
    try:
        with left_as_it_was(model), torch.no_grad():
            model.eval()
            found, changed = (model(**inputs).logits[0] for inputs in (together, _side_by_side([other, second])))
            alone = [model(input_ids=ids[None]).logits[0] for ids in texts]
    except Exception as error:
        # Whatever the model's own code makes of positions.
        raise UserError(
            f"With data.packing several texts stand in one row, which {name} does not take "
            f"({type(error).__name__}: {' '.join(str(error).split())[:200]}). {ways}"
        ) from error
    # What is not looked at weighs exactly nothing, so that not one bit may change with it.
    if not torch.equal(found[split:], changed[split:]):
        raise UserError(f"With data.packing a text must not read the one before it in its row, and {name} does. {ways}")
    for lone, there in zip(alone, (found[:split], found[split : split + len(second)]), strict=True):
        if not bool((lone - there).abs().max() <= CLOSE * lone.abs().max()):
            raise UserError(
                f"With data.packing positions begin anew with each text of a row, and {name} answers otherwise there "
                f"than where the text stands alone. {ways}"
            )
    return together


def _side_by_side(texts: list[Tensor]) -> dict[str, Tensor]:
    pad = texts[0].new_zeros(1)
    positions = torch.cat([*(torch.arange(len(ids)) for ids in texts), pad])
    return {"input_ids": torch.cat([*texts, pad])[None], "position_ids": positions[None]}
