"""Hugging Face Trainer at its best: batches grouped by length, fused AdamW, no log, no save, no evaluation."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from typing import Any

from transformers import (
    DataCollatorForTokenClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from tests.bench.inputs import Example
from tests.bench.meter import Meter


class Clock(TrainerCallback):
    """Tells the meter when the Trainer's steps begin and end."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self._meter.start()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self._meter.stop()


def train(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, examples: Sequence[Example], given: argparse.Namespace
) -> dict[str, Any]:
    meter = Meter(given.warm)
    pad_to_longest = DataCollatorForTokenClassification(tokenizer)

    def collate(rows: list[dict[str, Any]]) -> Any:
        batch = pad_to_longest(rows)
        meter.count(int(batch["attention_mask"].sum()), batch["attention_mask"].numel())
        return batch

    rows = [{"input_ids": e.ids, "attention_mask": [1] * len(e.ids), "labels": e.labels} for e in examples]
    with tempfile.TemporaryDirectory() as folder:
        settings = TrainingArguments(
            folder,
            max_steps=given.steps,
            per_device_train_batch_size=given.batch_size,
            learning_rate=given.learning_rate,
            warmup_steps=0.1,  # below 1: a share of the steps
            lr_scheduler_type="linear",
            max_grad_norm=1.0,
            optim="adamw_torch_fused",
            train_sampling_strategy="group_by_length",
            bf16=given.precision == "bfloat16",
            use_cpu=True,
            dataloader_pin_memory=False,
            logging_strategy="no",
            save_strategy="no",
            eval_strategy="no",
            report_to="none",
            disable_tqdm=True,
            remove_unused_columns=False,
            seed=given.seed,
        )
        done = Trainer(
            model,
            settings,
            data_collator=collate,
            train_dataset=rows,  # a list has all that its sampler asks for
            processing_class=tokenizer,
            callbacks=[Clock(meter)],
        ).train()
    return meter.summary() | {"mean_loss": round(done.training_loss, 5)}
