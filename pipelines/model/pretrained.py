"""The model that a run starts from and, with trained weights, ends with. Lives on the driver."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from pipelines.config import Config
from pipelines.errors import UserError
from pipelines.model.load import config_of, load_model, load_tokenizer, quiet
from pipelines.model.refuse import refuse_dropped_blocks, refuse_running_statistics
from pipelines.model.trace import ChangesItself
from pipelines.model.units import Units, find_units, one_unit
from pipelines.model.verify import verify
from pipelines.tasks.task import Task


class Pretrained:
    """A checkpoint with a new head for `labels`, its tokenizer, and its units."""

    def __init__(self, config: Config, task: Task, labels: Sequence[str]) -> None:
        """Load everything and find the units.

        Raises:
            UserError: no such model, no fast tokenizer, or a model that cannot be cut.
        """
        self.tokenizer = load_tokenizer(config.model.source)
        self._model = load_model(
            config.model.source,
            auto_class=task.auto_class,
            dtype=config.model.dtype,
            seed=config.run.seed,
            **task.model_options(labels),
        )
        refuse_running_statistics(self._model)
        try:
            self.units = self._find_units()
        except ChangesItself:
            raise
        except UserError:
            # Uncut, any model will do. One that can be cut keeps its units even so: dropout goes by unit.
            if config.plan.stages > 1:
                raise
            self.units = one_unit(self._model)
        self.config = config_of(self._model)
        self.model_class = type(self._model).__name__
        self.padding = task.padding(self.tokenizer)
        self.max_length = min(config.data.max_length, self.tokenizer.model_max_length, _positions(self._model))

    def _find_units(self) -> Units:
        return find_units(self._model, self._probe())

    def prove(self, cut: Sequence[int]) -> None:
        """Check that the model, cut before the units `cut`, answers as it does in one piece.

        Raises:
            UserError: it does not, so it must not be trained like that.
        """
        if cut:
            refuse_dropped_blocks(self._model)
            verify(self._model, self.units, cut, self._probe())

    def _probe(self) -> dict[str, Tensor]:
        probe = self.tokenizer([["a", "b", "c"], ["d"]], is_split_into_words=True, padding=True, return_tensors="pt")
        return dict(probe)

    def weights(self, names: Iterable[str]) -> dict[str, Tensor]:
        """The named parameters, and all buffers that a checkpoint holds."""
        parameters = dict(self._model.named_parameters())
        return {name: parameters[name].detach() for name in names} | self.buffers()

    def buffers(self) -> dict[str, Tensor]:
        return dict(self._model.named_buffers())

    def save(self, folder: Path, weights: Mapping[str, Tensor], *, punctuation: str) -> None:
        """Write the model with `weights` (the parameters that no unit reads stay as they were) for `from_pretrained`.

        `punctuation` says how the training words had it, so that raw text is split the same way.
        The folder appears whole or not at all.
        """
        parameters = dict(self._model.named_parameters())
        with torch.no_grad():
            for name, value in weights.items():
                parameters[name].copy_(value)
        beside = folder.with_name(f".{folder.name}.writing")
        shutil.rmtree(beside, ignore_errors=True)
        with quiet():
            self._model.save_pretrained(beside)  # type: ignore[operator]
            self.tokenizer.save_pretrained(beside)
        (beside / "words.json").write_text(json.dumps({"punctuation": punctuation}), encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(beside, folder)


def _positions(model: nn.Module) -> int:
    """How many sub-words the model has positions for."""
    longest = int(getattr(model.config, "max_position_embeddings", 0) or 2**31)
    for name, module in model.named_modules():
        # RoBERTa counts its positions from behind the padding index.
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None:
            longest -= int(module.padding_idx) + 1
    return longest
