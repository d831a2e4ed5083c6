"""Adapters that PEFT makes.

PEFT wraps a model twice: the tuner, which puts its layers into the model, and a PeftModel around both. What is
traced, cut and trained is the model with the layers in it, under its own names; methods that put something
in front of the input (prefix and prompt tuning) have no such layers, and the PeftModel itself is the model.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from pipelines.adapt.adapted import Adapted
from pipelines.adapt.bottleneck import HEADS
from pipelines.adapt.methods import with_sizes
from pipelines.errors import UserError

NAME = "default"
"""What PEFT calls an adapter that is alone."""


class PeftAdapted(Adapted):
    def __init__(self, model: nn.Module, config: Any) -> None:
        """Put the adapter that PEFT's `config` describes onto `model`, which is changed.

        Raises:
            UserError: PEFT cannot put this adapter onto this model.
        """
        from peft import PromptLearningConfig, get_peft_model

        # PEFT writes into the configuration what it found out.
        config = copy.deepcopy(config)
        heads = [name for name in HEADS if hasattr(model, name)]
        if config.task_type is None and getattr(config, "modules_to_save", heads) is None and heads:
            # Of models of images and sound PEFT does not know that the head is new.
            config.modules_to_save = heads
        config = with_sizes(config, model.config)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self.wrapper: Any = get_peft_model(model, config)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            said = " ".join(str(error).split())[:300]
            raise UserError(
                f"The adapter {config.peft_type.value.lower()} cannot be put onto {type(model).__name__}: {said}. Look "
                "at adapter.options, target_modules above all."
            ) from None
        self.beside = isinstance(config, PromptLearningConfig)
        self.model = self.wrapper if self.beside else self.wrapper.get_base_model()
        self.num_virtual_tokens = int(config.num_virtual_tokens) if self.beside else 0

    def save(self, folder: Path, ranks: Mapping[str, Sequence[bool]]) -> None:
        """Write the adapter for `PeftModel.from_pretrained`."""
        if ranks:
            self.wrapper.peft_config[NAME].rank_pattern = dict(ranks)
        self.wrapper.save_pretrained(folder)
        # A form that nobody filled in.
        (folder / "README.md").unlink(missing_ok=True)

    def plain(self) -> nn.Module:
        if not self.beside:
            merged: nn.Module = self.wrapper.merge_and_unload()
            return merged
        from peft.utils import ModulesToSaveWrapper

        base: nn.Module = self.wrapper.get_base_model()
        for path, module in list(base.named_modules()):
            if isinstance(module, ModulesToSaveWrapper):
                base.set_submodule(path, module.modules_to_save[NAME])
        return base
