"""Runs all stages of a cut in one process and one thread, so that a contract can be tested without actors.

A stage acts as soon as what it waits for is there, lowest stage first: the messages are a dict.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from pipelines.config import TrainConfig
from pipelines.model.load import config_of
from pipelines.model.units import find_units
from pipelines.plan.schedule import Action, make_schedule
from pipelines.tasks import make_task
from pipelines.train.device import Device
from pipelines.train.stage import Stage, StageSpec, global_norm

CPU = Device(torch.device("cpu"), threads=1)
Batch = dict[str, Tensor]


class OneProcess:
    """A cut model whose stages take turns."""

    def __init__(
        self,
        model: nn.Module,
        *,
        cut: Sequence[int],
        train: TrainConfig,
        dtype: str = "float32",
        schedule: str = "1f1b",
        num_steps: int = 20,
        seed: int = 7,
    ) -> None:
        self.units = find_units(model, probe())
        bounds = [0, *cut, len(self.units)]
        weights = {name: value.detach().clone() for name, value in model.state_dict().items()}
        self.stages = []
        for j, (first, end) in enumerate(pairwise(bounds)):
            spec = StageSpec(
                stage=j,
                num_stages=len(bounds) - 1,
                first=first,
                end=end,
                units=self.units,
                model_config=config_of(model),
                dtype=dtype,
                train=train,
                seed=seed,
                num_steps=num_steps,
            )
            owned = {n: weights[n] for n in self.units.parameters(first, end)}
            self.stages.append(Stage(spec, owned, CPU))
        self.schedule = schedule
        self.order: list[str] = []

    def step(self, number: int, batches: Sequence[Batch]) -> float:
        """One step; returns its loss."""
        num_targets = sum(int((batch["labels"] != -100).sum()) for batch in batches)
        todo = make_schedule(self.schedule, num_stages=len(self.stages), num_micro_batches=len(batches))
        mail: dict[tuple[int, str, int], list[Tensor]] = {}
        squares: dict[int, list[float]] = {}
        at = [0] * len(self.stages)
        while any(k < len(actions) for k, actions in zip(at, todo, strict=True)):
            moved = False
            for j, stage in enumerate(self.stages):
                if at[j] < len(todo[j]) and self._act(
                    j, stage, todo[j][at[j]], number, batches, num_targets, mail, squares
                ):
                    at[j] += 1
                    moved = True
            assert moved, "every stage waits"
        return self.stages[-1].take_loss()

    def _act(
        self,
        j: int,
        stage: Stage,
        action: Action,
        number: int,
        batches: Sequence[Batch],
        num_targets: int,
        mail: dict[tuple[int, str, int], list[Tensor]],
        squares: dict[int, list[float]],
    ) -> bool:
        i = action.micro_batch
        if action.kind == "forward":
            assert i is not None
            if not stage.is_first and (j, "forward", i) not in mail:
                return False
            sent = stage.forward(number, i, batches[i], mail.pop((j, "forward", i), []), num_targets)
            mail[j + 1, "forward", i] = sent
        elif action.kind == "backward":
            assert i is not None
            if not stage.is_last and (j, "backward", i) not in mail:
                return False
            mail[j - 1, "backward", i] = stage.backward(i, mail.pop((j, "backward", i), []))
        elif action.kind == "weights":
            assert i is not None
            stage.weights(i)
            if i == len(batches) - 1:
                squares[j] = stage.squared_norms()
        else:
            if len(squares) < len(self.stages):
                return False
            stage.update(number, global_norm(value for part in squares.values() for value in part))
        self.order.append(f"{j}{action}")
        return True

    def weights(self) -> dict[str, Tensor]:
        return {name: value for stage in self.stages for name, value in stage.state()[0].items()}


def probe() -> Batch:
    return {
        "input_ids": torch.tensor([[5, 6, 7, 8], [5, 6, 0, 0]]),
        "attention_mask": torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]]),
    }


def micro_batches(num_steps: int, *, vocabulary: int = 60, classes: int = 5, seed: int = 1) -> list[list[Batch]]:
    """For each step four micro-batches of different widths and sizes, with padding."""
    chance = torch.Generator().manual_seed(seed)

    def whole(low: int, high: int, *shape: int) -> Tensor:
        return torch.randint(low, high, shape, generator=chance)

    steps = []
    for _ in range(num_steps):
        batches = []
        for _ in range(4):
            rows, width = int(whole(1, 4, 1)), int(whole(3, 9, 1))
            lengths = torch.cat([torch.tensor([width]), whole(2, width + 1, rows - 1)])
            mask = (torch.arange(width)[None] < lengths[:, None]).long()
            ids = whole(5, vocabulary, rows, width) * mask
            labels = torch.where((mask == 1) & (whole(0, 3, rows, width) > 0), whole(0, classes, rows, width), -100)
            batches.append({"input_ids": ids, "attention_mask": mask, "labels": labels})
        steps.append(batches)
    return steps


def tiny(
    family: str, *, layers: int = 3, dropout: float = 0.1, dtype: torch.dtype = torch.float32, classes: int = 5
) -> nn.Module:
    """A random-weight token classifier of a few layers."""
    import transformers

    sizes: dict[str, Any] = {
        "hidden_size": 32, "num_hidden_layers": layers, "num_attention_heads": 2, "intermediate_size": 64,
        "vocab_size": 60, "pad_token_id": 0, "num_labels": classes,
        "hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout,
    }  # fmt: skip
    options: Mapping[str, Any] = {
        "bert": sizes,
        "roberta": sizes,
        "electra": sizes | {"embedding_size": 16},
        "distilbert": {
            "dim": 32, "n_layers": layers, "n_heads": 2, "hidden_dim": 64, "vocab_size": 60, "pad_token_id": 0,
            "num_labels": classes, "dropout": dropout, "attention_dropout": dropout, "seq_classif_dropout": dropout,
        },
    }[family]  # fmt: skip
    torch.manual_seed(3)
    config = transformers.AutoConfig.for_model(family, **options)
    model = make_task("token-classification").auto_class.from_config(config, dtype=dtype)
    with torch.no_grad():
        # Biases away from 0, as in every pretrained model. An attention's key bias has no gradient but
        # rounding noise; from 0 a relative difference would compare noise with noise.
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn_like(parameter), alpha=0.02)
    return model.train()
