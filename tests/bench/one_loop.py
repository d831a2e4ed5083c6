"""A plain loop in one process over the batches of a run: transformers' model and loss, torch's AdamW and clipping.

    python -m tests.bench.one_loop CONFIG [KEY=VALUE ...]

The config's plan is left out, and every step is one batch. Prints one JSON line: the loss of every step and the score
of the test split.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import get_linear_schedule_with_warmup
from transformers.utils import logging

from pipelines.config import Config, load_config
from pipelines.data.batches import epoch_steps, evaluation_batches
from pipelines.data.examples import Encoded
from pipelines.data.pack import merge, pack
from pipelines.data.read import read_split
from pipelines.data.sources import sources
from pipelines.model.load import load_model
from pipelines.tasks import make_task


class Loop:
    def __init__(self, config: Config) -> None:
        self.config, self.task = config, make_task(config.train.task)
        tables = {
            split: read_split(source, split=split, data=config.data, kind=self.task.kind)
            for split, source in sources(config.data).items()
        }
        self.labels = self.task.labels({name: table.labels for name, table in tables.items()})
        self.rows = {name: table.rows for name, table in tables.items()}
        source, processor = config.model.source, self.task.load_processor(config.model.source)
        self.padding = self.task.padding(processor)
        options = self.task.model_options(self.labels)
        self.model: Any = load_model(
            source, auto_class=self.task.auto_class, dtype="float32", seed=config.run.seed, **options
        )
        longest = min(config.data.max_length, processor.model_max_length)
        self.encoded = {
            name: self.task.encode(rows, processor, self.labels, longest) for name, rows in self.rows.items()
        }

    def train(self) -> list[float]:
        """The loss of every step."""
        train = self.config.train
        epochs = [self._epoch(epoch) for epoch in range(train.epochs)]
        num_steps = sum(map(len, epochs))
        decayed = [p for p in self.model.parameters() if p.ndim > 1]
        others = [p for p in self.model.parameters() if p.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": train.weight_decay}, {"params": others, "weight_decay": 0.0}]
        optimizer = torch.optim.AdamW(groups, lr=train.learning_rate, betas=train.betas, eps=train.eps)
        schedule = get_linear_schedule_with_warmup(optimizer, math.ceil(train.warmup * num_steps), num_steps)
        losses = []
        self.model.train()
        for rows in (step for epoch in epochs for step in epoch):
            batch = self._batch(self.encoded["train"], rows)
            loss = self.model(**self.task.inputs(batch), labels=batch["labels"]).loss
            loss.backward()
            if train.clip is not None:
                torch.nn.utils.clip_grad_norm_(self.model.parameters(), train.clip)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            losses.append(float(loss.detach()))
        return losses

    @torch.no_grad()
    def score(self, split: str) -> float:
        self.model.eval()
        encoded, answers = self.encoded[split], {}
        for micro_batch in evaluation_batches([e.length for e in encoded], token_budget=self.config.train.token_budget):
            batch = self._batch(encoded, micro_batch.rows)
            found = self.task.answers(self.model(**self.task.inputs(batch)), batch)
            answers.update(zip(micro_batch.rows, found, strict=True))
        gold = [self.task.gold(row, one) for row, one in zip(self.rows[split], encoded, strict=True)]
        return self.task.report(gold, [answers[n] for n in range(len(gold))], self.labels).score

    def _epoch(self, epoch: int) -> list[list[int]]:
        train = self.config.train
        steps = epoch_steps(
            [one.length for one in self.encoded["train"]],
            batch_size=train.batch_size,
            accumulate=train.accumulate,
            micro_batches=1,
            token_budget=train.token_budget,
            seed=self.config.run.seed,
            epoch=epoch,
        )
        return [step.rows for step in steps]

    def _batch(self, encoded: Sequence[Encoded], rows: Sequence[int]) -> dict[str, Tensor]:
        return merge([pack([encoded[n] for n in rows], range(len(rows)))], self.padding)


def main(config: str, overrides: Sequence[str]) -> None:
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    loop = Loop(load_config(config, overrides))
    losses = loop.train()
    print(json.dumps({"losses": losses, "score": loop.score("test")}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
