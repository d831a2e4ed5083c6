"""Runs all stages of a cut in one process and one thread, so that a contract can be tested without actors.

A stage acts as soon as what it waits for is there, lowest stage first: the messages are a dict.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pipelines.config import TrainConfig
from pipelines.model.freeze import trained
from pipelines.model.load import config_of
from pipelines.model.units import Units, find_units
from pipelines.plan.local import Local
from pipelines.plan.pipeline import Pipeline
from pipelines.plan.schedules import make_schedule
from pipelines.tasks import make_task
from pipelines.tasks.head import Head
from pipelines.train.adversarial import rounds_of
from pipelines.train.compress import Compression
from pipelines.train.device import Device
from pipelines.train.events import StageReport
from pipelines.train.executor import Executor, StepOrder
from pipelines.train.local import localised
from pipelines.train.poison import Tolerance, first_of, told
from pipelines.train.specs import held, stage_specs
from pipelines.train.stage import Stage
from pipelines.train.transport import Tag, Transport, Want

CPU = Device(torch.device("cpu"), threads=1)
Batch = dict[str, Tensor]


class Mail:
    """Messages by receiver, sender and tag."""

    def __init__(self) -> None:
        self.box: dict[tuple[int, int, Tag], list[Tensor]] = {}
        self.sent: list[tuple[int, int, str]] = []
        """Sender, receiver and what, of every message there was."""

    def of(self, stage: int) -> Transport:
        return Post(self, stage)


class Post:
    """What one stage sees of the mail."""

    def __init__(self, mail: Mail, stage: int) -> None:
        self._mail, self._stage = mail, stage

    def send(self, stage: int, tag: Tag, tensors: Sequence[Tensor]) -> int:
        self._mail.sent.append((self._stage, stage, tag.what))
        self._mail.box[stage, self._stage, tag] = [_elsewhere(tensor) for tensor in tensors]
        return sum(tensor.nbytes for tensor in tensors)

    def receive(self, stage: int, tag: Tag) -> list[Tensor]:
        return self._mail.box.pop((self._stage, stage, tag))


def _elsewhere(tensor: Tensor) -> Tensor:
    """A copy, as between processes: in memory that does not begin where torch's own does."""
    skipped = 16 // tensor.element_size()
    flat = torch.empty(tensor.numel() + skipped, dtype=tensor.dtype)[skipped:]
    return flat.copy_(tensor.reshape(-1)).view(tensor.shape)


class OneProcess:
    """A cut model whose stages take turns."""

    def __init__(
        self,
        model: nn.Module,
        *,
        cut: Sequence[int],
        stage_of: Sequence[int] | None = None,
        train: TrainConfig,
        dtype: str = "float32",
        schedule: str = "1f1b",
        num_steps: int = 20,
        seed: int = 7,
        head: Head | None = None,
        units: Units | None = None,
        adapter: Any = None,
        model_class: str | None = None,
        local: Sequence[Local] = (),
        compress: Compression = "none",
    ) -> None:
        """`model` has the adapter (PEFT's configuration of it) on it already; it is a `model_class` beneath it.

        `local` says how each stage computes, if not all as `train` says.
        """
        self.units = units or find_units(model, probe())
        specs = stage_specs(
            self.units,
            [0, *cut, len(self.units)],
            stage_of or range(len(cut) + 1),
            head=head or make_task("token-classification"),
            model_class=model_class or type(model).__name__,
            model_config=config_of(model),
            dtype=dtype,
            train=train,
            seed=seed,
            num_steps=num_steps,
            trained=frozenset(trained(model)),
            adapter=adapter,
            compress=compress,
        )
        specs = localised(specs, train, local) if local else specs
        parameters, buffers = dict(model.named_parameters()), dict(model.named_buffers())
        self.mail = Mail()
        self.stages = [Stage(spec, CPU) for spec in specs]
        for stage, spec in zip(self.stages, specs, strict=True):
            stage.load({name: parameters[name].detach() for name in held(self.units, spec)} | buffers)
            stage.check_loaded()
        self._executors = [Executor(stage, self.mail.of(j)) for j, stage in enumerate(self.stages)]
        self.schedule = schedule
        self.reports: dict[int, StageReport] = {}
        """Of the last step, by stage."""
        self._tolerance, self._rounds = Tolerance(train), rounds_of(train)

    def step(
        self, number: int, batches: Sequence[Batch], *, num_targets: float | None = None, update: bool = True
    ) -> float:
        """One step, or all of it but the update; returns its loss.

        Raises:
            FloatingPointError: it changed no weight, and the config does not bear that.
        """
        if num_targets is None:
            num_targets = sum(int((batch["labels"] != -100).sum()) for batch in batches)
        todo = make_schedule(self.schedule, Pipeline(self.stages[0].spec.stage_of), len(batches), rounds=self._rounds)
        todo = todo if update else [[action for action in actions if action.kind != "update"] for actions in todo]
        running: dict[int, Generator[Want, list[Tensor], StageReport]] = {}
        waiting: dict[int, Want] = {}
        loss, penalties = float("nan"), [0.0]
        for j, executor in enumerate(self._executors):
            running[j] = executor.step(StepOrder(number, tuple(todo[j]), num_targets, rounds=self._rounds), batches)
        ready: dict[int, list[Tensor] | None] = dict.fromkeys(running)
        while running:
            assert ready, f"every stage waits: {waiting}"
            for j, message in ready.items():
                try:
                    waiting[j] = running[j].send(message) if message is not None else next(running[j])
                except StopIteration as end:
                    del running[j]
                    self.reports[j] = end.value
                    loss = end.value.loss if end.value.loss is not None else loss
                    penalties += end.value.penalties
            ready = {j: self.mail.box.pop((j, *waiting[j])) for j in running if (j, *waiting[j]) in self.mail.box}
        assert not self.mail.box, "messages that nobody wanted"
        reports = [self.reports[j] for j in sorted(self.reports)]
        found = told(number + 1, first_of(report.poison for report in reports), [[i] for i in range(len(batches))])
        self._tolerance.take(found, reports[0].loss_scale)
        return math.fsum((loss, *penalties))

    def evaluate(self, call: int, batches: Sequence[Batch]) -> list[list[Any]]:
        """Forward only, one stage behind the other; of each micro-batch the answers, row by row."""
        found: list[list[Any]] = []
        for executor in self._executors:
            found = executor.evaluate(call, batches)
        assert not self.mail.box, "messages that nobody wanted"
        return found

    def weights(self) -> dict[str, Tensor]:
        return {name: value.clone() for stage in self.stages for name, value in stage.named_weights()}


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
        "llama": {
            "hidden_size": 32, "num_hidden_layers": layers, "num_attention_heads": 2, "intermediate_size": 64,
            "vocab_size": 60, "pad_token_id": 0, "num_labels": classes, "attention_dropout": dropout,
            "classifier_dropout": dropout, "tie_word_embeddings": False, "use_cache": False,
        },
        "gpt2": {
            "n_embd": 32, "n_layer": layers, "n_head": 2, "vocab_size": 60, "n_positions": 64, "num_labels": classes,
            "resid_pdrop": dropout, "embd_pdrop": dropout, "attn_pdrop": dropout, "classifier_dropout": dropout,
            "use_cache": False,
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
