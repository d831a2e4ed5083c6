"""Put an adapter onto a model, whole or a skeleton, and take it off again.

PEFT wraps a model twice: the tuner, which puts its layers into the model, and a PeftModel around both. What is
traced, cut and trained is the model with the layers in it, under its own names; methods that put something
in front of the input (prefix and prompt tuning) have no such layers, and the PeftModel itself is the model.
"""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pipelines.adapt.methods import with_sizes
from pipelines.errors import UserError

NAME = "default"
"""What PEFT calls an adapter that is alone."""


@dataclass(frozen=True, slots=True)
class Adapted:
    """A model with an adapter on it."""

    wrapper: Any
    """The PeftModel."""
    model: nn.Module
    """What is traced, cut and trained."""
    in_front: bool
    """Whether the adapter is tokens in front of the input (or of every layer's), which cannot be merged."""

    @property
    def num_virtual_tokens(self) -> int:
        """How many positions the adapter takes of those that the model has."""
        return int(self.wrapper.peft_config[NAME].num_virtual_tokens) if self.in_front else 0

    def save(self, folder: Path, ranks: dict[str, list[bool]]) -> None:
        """Write the adapter for `PeftModel.from_pretrained`.

        Args:
            ranks: AdaLoRA's ranks that are left, by the name of their `lora_E`; empty for others.
        """
        if ranks:
            self.wrapper.peft_config[NAME].rank_pattern = ranks
        self.wrapper.save_pretrained(folder)

    def plain(self) -> nn.Module:
        """The plain model, with the adapter worked into its weights unless it is `in_front`; ends `self`.

        A head that was trained beside the adapter is in its place.
        """
        if not self.in_front:
            merged: nn.Module = self.wrapper.merge_and_unload()
            return merged
        from peft.utils import ModulesToSaveWrapper

        base: nn.Module = self.wrapper.get_base_model()
        for path, module in list(base.named_modules()):
            if isinstance(module, ModulesToSaveWrapper):
                base.set_submodule(path, module.modules_to_save[NAME])
        return base


def attach(model: nn.Module, config: Any, *, seed: int | None = None) -> Adapted:
    """Put the adapter that `config` (PEFT's) describes onto `model`, which is changed.

    Args:
        seed: what the adapter's first weights are drawn from; None where they come from elsewhere.

    Raises:
        UserError: PEFT cannot put this adapter onto this model.
    """
    from peft import PromptLearningConfig, get_peft_model

    # PEFT writes into the configuration what it found out.
    config = with_sizes(copy.deepcopy(config), model.config)
    state = torch.get_rng_state()
    if seed is not None:
        torch.manual_seed(seed)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wrapper = get_peft_model(model, config)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        said = " ".join(str(error).split())[:300]
        raise UserError(
            f"The adapter {config.peft_type.value.lower()} cannot be put onto {type(model).__name__}: {said}. Look at "
            "adapter.options, target_modules above all."
        ) from None
    finally:
        torch.set_rng_state(state)
    in_front = isinstance(config, PromptLearningConfig)
    return Adapted(wrapper, wrapper if in_front else wrapper.get_base_model(), in_front)
