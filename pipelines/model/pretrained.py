"""The model that a run starts from and, with trained weights, ends with. Lives on the driver."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pipelines.adapt.adapted import ADAPTER
from pipelines.adapt.attach import attach
from pipelines.adapt.methods import adapter_config
from pipelines.config import Config
from pipelines.errors import UserError
from pipelines.model.freeze import freeze, trained
from pipelines.model.load import DTYPES, config_of, load_model, quiet, without_augmentation, without_caches
from pipelines.model.packed import refuse_unpackable
from pipelines.model.refuse import refuse_dropped_blocks, refuse_running_statistics, refuse_without_zeros
from pipelines.model.trace import ChangesItself
from pipelines.model.units import Units, find_units, one_unit
from pipelines.model.verify import verify
from pipelines.tasks.head import of_dtype
from pipelines.tasks.task import Task
from pipelines.tasks.teacher import TEACHER
from pipelines.tasks.writing import WritingTask
from pipelines.train.adversarial import table_of
from pipelines.train.sparse import SMALLEST


class Pretrained:
    """A checkpoint with a new head for `labels`, its tokenizer (or what a task has in its place), and its units."""

    def __init__(self, config: Config, task: Task, labels: Sequence[str]) -> None:
        """Load everything and find the units.

        Raises:
            UserError: no such model, no fast tokenizer, a model that cannot be cut, or one whose texts cannot share a
                row where they are to.
        """
        self._processor = task.load_processor(config.model.source)
        self._probe = of_dtype(task.probe(self._processor), DTYPES[config.model.dtype])
        self._model = load_model(
            config.model.source,
            auto_class=task.auto_class,
            dtype=config.model.dtype,
            seed=config.run.seed,
            **task.model_options(labels),
        )
        self._cached, self._augmented = without_caches(self._model), without_augmentation(self._model)
        self.model_class = type(self._model).__name__
        self.config = config_of(self._model)
        self.generation: Any = getattr(self._model, "generation_config", None)
        """How it writes texts."""
        self._adapter, self._task = config.adapter, config.train.task
        self._adapted = None
        if config.adapter is not None:
            self._adapted = attach(self._model, adapter_config(config.adapter, self._task), seed=config.run.seed)
            self._model = self._adapted.model.to(DTYPES[config.model.dtype])
        freeze(self._model, config.train.freeze)
        self.trained = trained(self._model)
        """The parameters that are trained, by name, with their numbers of values."""
        refuse_running_statistics(self._model)
        if config.train.keep_zeros:
            refuse_without_zeros(self._model)
        try:
            self.units = self._find_units()
        except ChangesItself:
            raise
        except UserError:
            # Uncut, any model will do. One that can be cut keeps its units even so: dropout goes by unit.
            if config.plan.stages not in {1, "auto"}:
                raise
            if config.train.recompute is True:
                raise UserError(
                    f"{self.model_class} has no blocks that could run again in their backward. "
                    "Use train.recompute=false."
                ) from None
            self.units = one_unit(self._model)
        task.check_model(self._model, self._probe)
        if config.train.adversarial is not None:
            table_of(self._model, self.units, self.trained)
        if config.data.packing and self._adapted is not None and self._adapted.num_virtual_tokens:
            raise UserError(
                "With data.packing several texts share a row, and only the first would read the virtual tokens that an "
                "adapter puts in front of it. Use data.packing=false, or another adapter.method."
            )
        self._packed = refuse_unpackable(self._model, self._probe) if config.data.packing else None
        # What a teacher says of a row has one length, and is none of the processor's business.
        self.padding = {**task.padding(self._processor), TEACHER: 0.0}
        taken = 0 if self._adapted is None else self._adapted.num_virtual_tokens
        self.max_length = min(
            config.data.max_length,
            getattr(self._processor, "model_max_length", config.data.max_length) - taken,
            positions(self._model) - taken,
        )

    def _find_units(self) -> Units:
        return find_units(self._model, self._probe)

    def prove(self, cut: Sequence[int]) -> None:
        """Check that the model, cut before the units `cut`, answers as it does in one piece.

        Raises:
            UserError: it does not, so it must not be trained like that.
        """
        if cut:
            refuse_dropped_blocks(self._model)
            verify(self._model, self.units, cut, self._probe)
            if self._packed is not None:
                verify(self._model, self.units, cut, self._packed)

    def adapter(self, *, num_steps: int) -> Any:
        """PEFT's configuration of the adapter for a run of so many steps; None where the whole model is trained.

        Raises:
            UserError: AdaLoRA's phases do not fit into the run.
        """
        return None if self._adapter is None else adapter_config(self._adapter, self._task, num_steps=num_steps)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of the parameters that are trained, by name."""
        return {name: tuple(p.shape) for name, p in self._model.named_parameters() if name in self.trained}

    def weights(self, names: Iterable[str]) -> dict[str, Tensor]:
        """The named parameters, and all buffers that a checkpoint holds."""
        parameters = dict(self._model.named_parameters())
        return {name: parameters[name].detach() for name in names} | self.buffers()

    def tables(self) -> dict[str, int]:
        """The trained embedding tables that are large enough to be trained by rows, with their widths."""
        return {
            f"{path}.weight": module.embedding_dim
            for path, module in self._model.named_modules()
            if type(module) is nn.Embedding and module.num_embeddings >= SMALLEST and f"{path}.weight" in self.trained
        }

    def buffers(self) -> dict[str, Tensor]:
        return dict(self._model.named_buffers())

    def text(self, task: WritingTask, written: Sequence[int]) -> str:
        """What sub-words say."""
        return task.text(self._processor, written)

    def save(
        self,
        folder: Path,
        weights: Iterable[tuple[str, Tensor]],
        ranks: Mapping[str, Tensor],
        *,
        facts: Mapping[str, Any],
    ) -> None:
        """Write the model with `weights` (what is not trained stays as it was) for `from_pretrained`.

        An adapter is written by itself too, for PEFT, into the folder `adapter` beside: it is worked into the model's
        weights. One that cannot be lies within the model's folder as well. The model is of no more use here afterwards.

        Args:
            weights: by fully qualified name, one by one.
            ranks: what AdaLoRA left of each `lora_E` [ranks, 1]; empty for others.
            facts: what of the training data whoever uses the model must know; for `task.json`.

        The folder appears whole or not at all.
        """
        parameters = dict(self._model.named_parameters())
        with torch.no_grad():
            for name, value in weights:
                parameters[name].copy_(value)
        for config in self._cached:
            config.use_cache = True
        for config in self._augmented:
            config.apply_spec_augment = True
        beside = folder.with_name(f".{folder.name}.writing")
        shutil.rmtree(beside, ignore_errors=True)
        plain: Any = self._model
        with quiet():
            if self._adapted is not None:
                self._adapted.save(folder.parent / ADAPTER, {name: kept.tolist() for name, kept in ranks.items()})
                plain = self._adapted.plain()
                if self._adapted.beside:
                    shutil.copytree(folder.parent / ADAPTER, beside / ADAPTER)
            plain.save_pretrained(beside)
            self._processor.save_pretrained(beside)
        (beside / "task.json").write_text(json.dumps({"task": self._task, **facts}), encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(beside, folder)


def positions(model: nn.Module) -> int:
    """How many sub-words the model has positions for."""
    longest = int(getattr(model.config, "max_position_embeddings", 0) or 2**31)
    for name, module in model.named_modules():
        # RoBERTa counts its positions from behind the padding index.
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None:
            longest -= int(module.padding_idx) + 1
    return longest
