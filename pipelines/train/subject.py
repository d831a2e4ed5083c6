"""What is measured: a model with the way it is trained, but without its weights."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from math import prod
from typing import Any

import torch
from torch import Tensor

from pipelines.config import TrainConfig
from pipelines.model.load import DTYPES
from pipelines.model.units import Units
from pipelines.plan.measured import Shape
from pipelines.tasks.head import Head
from pipelines.train.specs import StageSpec, held, stage_specs
from pipelines.train.stage import Stage

NUM_STEPS = 1000
"""Of the run that is pretended: the learning rate wants to know."""


@dataclass(frozen=True, slots=True)
class Subject:
    units: Units
    head: Head
    model_class: str
    """Its name in transformers."""
    model_config: Any
    dtype: str
    train: TrainConfig
    trained: frozenset[str]
    shapes: Mapping[str, tuple[int, ...]]
    """Of all parameters, by fully qualified name."""
    adapter: Any = None
    """PEFT's configuration of the adapter that the model has."""

    def in_precision(self, name: str) -> Subject:
        """The same, its products taken in another precision."""
        return replace(self, train=self.train.model_copy(update={"precision": name}))

    def spec(self, bounds: Sequence[int], stage_of: Sequence[int]) -> StageSpec:
        """Of stage 0."""
        return stage_specs(
            self.units,
            bounds,
            stage_of,
            head=self.head,
            model_class=self.model_class,
            model_config=self.model_config,
            adapter=self.adapter,
            dtype=self.dtype,
            train=self.train,
            seed=0,
            num_steps=NUM_STEPS,
            trained=self.trained,
        )[0]

    def fill(self, stage: Stage) -> None:
        """Give a stage weights of the right shapes: times do not depend on their values."""
        draw = torch.Generator().manual_seed(0)
        for name in held(self.units, stage.spec):
            shape = self.shapes[name]
            small = torch.randn(shape, generator=draw) * 0.02
            # Norms as they begin, so that no activation dies out.
            stage.load({name: torch.ones(shape) if len(shape) == 1 and not name.endswith("bias") else small})
        stage.check_loaded()

    def num_bytes(self, name: str) -> int:
        """Of a parameter."""
        return prod(self.shapes[name]) * DTYPES[self.dtype].itemsize

    def likely_bytes(self, n: int) -> int:
        """What unit `n` takes with gradients and two moments, before anything is measured."""
        return sum(self.num_bytes(p) * (4 if p in self.trained else 1) for p in self.units.all[n].parameters)

    def likeness(self, n: int) -> tuple[Any, ...]:
        """What units that take the same time have in common."""
        unit, spec = self.units.all[n], self.units
        first = [not self.trained.isdisjoint(spec.parameters(0, end)) for end in (n, n + 1)]
        numbers = [int(number) for number in re.findall(r"\d+", unit.name)[:1]]
        kinds = getattr(self.model_config, "layer_types", None) or ()
        around = (spec.boundaries[k] if 0 <= k < len(spec.boundaries) else None for k in (n - 1, n))
        return (
            re.sub(r"\d+", "#", unit.name),
            tuple((re.sub(r"\d+", "#", p), self.shapes[p], p in self.trained) for p in unit.parameters),
            tuple(first),
            tuple(kinds[number] for number in numbers if number < len(kinds)),
            tuple(None if boundary is None else len(boundary.leaves) for boundary in around),
        )

    def fingerprint(self) -> str:
        """Of all that times depend on beside device, shapes and versions."""
        config = {
            key: value
            for key, value in self.model_config.to_dict().items()
            if key not in {"_name_or_path", "transformers_version", "id2label", "label2id"}
        }
        train = self.train.model_dump(include={"optimizer", "precision", "recompute", "weight_decay"})
        facts = [
            self.model_class,
            config,
            int(getattr(self.model_config, "num_labels", 0)),
            [[unit.name, unit.parameters] for unit in self.units.all],
            sorted(self.trained),
            self.dtype,
            type(self.head).__name__,
            train,
            self.train.loss_scale is not None,
            None if self.adapter is None else {f.name: getattr(self.adapter, f.name) for f in fields(self.adapter)},
        ]
        text = json.dumps(facts, sort_keys=True, default=lambda value: sorted(map(str, value)) if isinstance(value, set)
                          else str(value))  # fmt: skip
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def sized(example: Mapping[str, Tensor], shape: Shape) -> dict[str, Tensor]:
    """A micro-batch of a shape, made of a real one by repeating its rows and sub-words, or leaving some out.

    Columns as long as the input or the decoder's stay so in proportion; what is said of a row as a whole keeps its
    form. The width of a shape is that of source and target together where there are both.
    """
    widths = [example[name].shape[1] for name in ("input_ids", "decoder_input_ids") if name in example]
    made = {}
    for name, column in example.items():
        column = column[torch.arange(shape.rows) % len(column)]
        if widths and not column.is_floating_point():
            if column.shape[1] in widths:
                width = max(1, round(column.shape[1] * shape.width / sum(widths)))
                column = column[:, torch.arange(width) % column.shape[1]].contiguous()
            elif name == "labels":
                # Where they are places in the input: it may have become shorter.
                column = column.clamp(max=max(0, round(widths[0] * shape.width / sum(widths)) - 1))
        made[name] = column
    return made
