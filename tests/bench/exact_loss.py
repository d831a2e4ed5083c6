"""Loss and gradients of one step that is split into k micro-batches, over those of its whole batch at once.

    python -m tests.bench.exact_loss

Three ways to take the same step of the same examples in the same precision: the plain model on the whole batch, which
is the truth; the Hugging Face Trainer with gradient_accumulation_steps=k; Motley's engine with k micro-batches in two
stages. Models of few layers with random weights and no dropout. What the Trainer does is read from it: its logged loss,
and the gradients that its optimizer is about to use. No figure here is a time, and none differs from run to run.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from pipelines.check.compare import BOUNDS, difference
from pipelines.config import TrainConfig
from pipelines.model.examples import num_targets
from pipelines.model.load import quiet
from pipelines.model.units import find_units
from pipelines.tasks.cross_entropy import CrossEntropy
from pipelines.tasks.head import Head
from pipelines.tasks.own_loss import OwnLoss
from pipelines.tasks.token_classification import TokenClassification
from tests.bench.tables import BENCHMARKS, command, machine, replace_section, table
from tests.unit.pipelines.heads import HEADS, ROWS, Row, rows, small_model, split, together
from tests.unit.pipelines.one_process import OneProcess

SMOOTHING = 0.1
SPLITS = (1, 2, 4, 8)


@dataclass(frozen=True)
class Case:
    """A model with a head; smoothed, the loss is computed outside the model."""

    head: str
    model_type: str
    smoothing: float = 0.0

    @property
    def name(self) -> str:
        return self.head + (f", smoothed {self.smoothing}" if self.smoothing else "")

    @property
    def motley(self) -> Head:
        """As `jobs.train` has it where it has a task for the head, else with the loss that the model computes."""
        if self.head == "token-classification":
            return TokenClassification(CrossEntropy(self.smoothing))
        return OwnLoss(self.head)


CASES = [*(Case(*pair) for pair in HEADS[:1]), Case(*HEADS[0], SMOOTHING), *(Case(*pair) for pair in HEADS[1:])]


@dataclass(frozen=True)
class Taken:
    """What a step came to, before its update."""

    loss: float
    gradients: dict[str, Tensor]

    @property
    def norm(self) -> float:
        return float(torch.stack([gradient.double().norm() for gradient in self.gradients.values()]).norm())


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--docs", type=Path, default=BENCHMARKS)
    parser.add_argument("--section", default="exact-loss", help="the marked section of the docs to write")
    return parser.parse_args()


def gradients_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def plain(case: Case, some: Sequence[Row]) -> Taken:
    """The whole batch at once: the model's own loss, or smoothed torch's."""
    model, batch = small_model(case.head, case.model_type), together(some)
    output = model(**batch)
    loss = output.loss
    if case.smoothing:
        logits = output.logits.flatten(0, 1)
        loss = nn.functional.cross_entropy(logits, batch["labels"].flatten(), label_smoothing=case.smoothing)
    loss.backward()
    return Taken(loss.item(), gradients_of(model))


class Watch(TrainerCallback):
    """Keeps what the Trainer logs, and the gradients that its optimizer gets."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.gradients: list[dict[str, Tensor]] = []

    def on_pre_optimizer_step(self, *_: Any, model: nn.Module, **__: Any) -> None:
        self.gradients.append(gradients_of(model))

    def on_log(self, *_: Any, logs: dict[str, float], **__: Any) -> None:
        if "loss" in logs:
            self.losses.append(float(logs["loss"]))


def trainer(case: Case, some: Sequence[Row], k: int) -> Taken:
    """One step of the Trainer, on k micro-batches of the rows in their order."""
    watch = Watch()
    with tempfile.TemporaryDirectory() as folder, quiet():
        settings = TrainingArguments(
            folder,
            max_steps=1,
            per_device_train_batch_size=len(some) // k,
            gradient_accumulation_steps=k,
            label_smoothing_factor=case.smoothing,
            train_sampling_strategy="sequential",
            max_grad_norm=0.0,  # no clipping
            optim="sgd",
            use_cpu=True,
            dataloader_pin_memory=False,
            logging_strategy="steps",
            logging_steps=1,
            save_strategy="no",
            eval_strategy="no",
            report_to="none",
            disable_tqdm=True,
            remove_unused_columns=False,
        )
        model = small_model(case.head, case.model_type)
        run = Trainer(model, settings, data_collator=together, train_dataset=list(some), callbacks=[watch])
        run.remove_callback(PrinterCallback)
        run.train()
    (loss,), (gradients,) = watch.losses, watch.gradients
    return Taken(loss, gradients)


def motley(case: Case, some: Sequence[Row], k: int) -> Taken:
    """One step of the engine: its stages, schedule and executor, without actors between them."""
    model, batches = small_model(case.head, case.model_type), split(some, k)
    units = find_units(model, batches[0])
    cut = [len(units) // 2]
    run = OneProcess(model, cut=cut, train=TrainConfig(), dtype="float64", head=case.motley, units=units)
    total = sum(num_targets(batch, case.head) for batch in batches)
    loss = run.step(0, batches, num_targets=total, update=False)
    return Taken(loss, {name: gradient for stage in run.stages for name, gradient in stage.named_gradients()})


def line(case: Case, k: int, truth: Taken, *taken: Taken) -> list[str]:
    """For each way to take the step its loss and its norm over the true ones, and how far its gradients are apart."""
    cells = [case.name, case.model_type, str(k)]
    for one in taken:
        apart = difference("gradients", one.gradients, truth.gradients, BOUNDS["float64"]).largest
        cells += [f"{one.loss / truth.loss:.4f}", f"{one.norm / truth.norm:.4f}", f"{apart:.2g}"]
    return cells


def report(lines: Sequence[Sequence[str]]) -> str:
    head = ["head", "model", "k"]
    for who in ("Trainer", "Motley"):
        head += [f"{who}: loss", "gradient", "apart"]
    return f"""## Loss and gradients of a step in k micro-batches

`{command(__file__)}`

{machine()}.
Models of few layers with random weights, float64, no dropout; a step of {ROWS} rows in k micro-batches of as many rows
each, with unequal numbers of targets. *loss*, *gradient*: what is logged, and the norm of what the optimizer gets, over
those of the plain model on the whole batch: 1 is right. *apart*: the largest difference of a parameter's gradient from
the plain model's, relative to its largest value. Motley in two stages; token classification with its task, the other
heads with the loss that the model computes inside. Llama's is in float32, whatever the model is in: what is apart
there is its rounding.

{table(head, lines)}
"""


def main() -> None:
    given = arguments()
    lines = []
    for case in CASES:
        some = rows(case.head)
        truth = plain(case, some)
        for k in SPLITS:
            lines.append(line(case, k, truth, trainer(case, some, k), motley(case, some, k)))
            print(*lines[-1], sep="  ", flush=True)
    body = report(lines)
    print(body)
    replace_section(given.docs, given.section, body)


if __name__ == "__main__":
    main()
