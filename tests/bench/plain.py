"""The baselines, each a run in a process of its own that prints one JSON line.

    python -m tests.bench.plain METHOD --data FOLDER --steps 105 --seed 0 --precision float32

script    the usual script: every sentence padded to 128, random batches, a plain PyTorch loop
longest   the same, padded to the longest of its batch
trainer   Hugging Face Trainer at its best: batches grouped by length, fused AdamW, nothing else in the loop
loop      the reference for F1: whole epochs, scores on dev after each and on test at the end
"""

from __future__ import annotations

import argparse
import json
import os
import random
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForTokenClassification,
    AutoTokenizer,
    PreTrainedModel,
    get_linear_schedule_with_warmup,
)
from transformers.utils import logging

from tests.bench import inputs
from tests.bench.meter import Meter
from tests.bench.scores import f1

METHODS = ("script", "longest", "trainer", "loop")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("method", choices=METHODS)
    parser.add_argument("--data", type=Path, required=True, help="a folder with train.conll, dev.conll and test.conll")
    parser.add_argument("--model", default=inputs.MINILM, help="a hub id, a folder, or package:DISTRIBUTION/path")
    parser.add_argument("--steps", type=int, help="stop after this many; `loop` runs its epochs when left out")
    parser.add_argument("--epochs", type=int, default=5, help="of `loop`")
    parser.add_argument("--warm", type=int, default=5, help="first steps that are not measured")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=2e-5)
    parser.add_argument("--order", choices=("random", "grouped"), default="grouped", help="of the batches of `loop`")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    given = parser.parse_args()
    if given.method != "loop" and given.steps is None:
        parser.error(f"{given.method} needs --steps")
    return given


def main() -> None:
    given = arguments()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(given.threads)
    torch.manual_seed(given.seed)
    splits = {name: inputs.read_conll(given.data / f"{name}.conll") for name in ("train", "dev", "test")}
    labels = inputs.labels_of(splits["train"])
    source = inputs.locate(given.model)
    tokenizer = AutoTokenizer.from_pretrained(source)
    model = AutoModelForTokenClassification.from_pretrained(
        source, num_labels=len(labels), id2label=dict(enumerate(labels)), label2id={v: i for i, v in enumerate(labels)}
    )
    longest = 512 if given.method == "loop" else 128
    encoded = {name: inputs.encode(tokenizer, rows, labels, longest) for name, rows in splits.items()}
    if given.method == "trainer":
        from tests.bench import trainer

        result = trainer.train(model, tokenizer, encoded["train"], given)
    else:
        result = train(model, tokenizer.pad_token_id, encoded, labels, given)
    facts = {name: getattr(given, name) for name in ("method", "precision", "seed", "threads")}
    print(json.dumps(facts | result), flush=True)


def train(
    model: PreTrainedModel,
    pad: int,
    encoded: dict[str, list[inputs.Example]],
    labels: list[str],
    given: argparse.Namespace,
) -> dict[str, Any]:
    """`script`, `longest` and `loop`: one loop, so that they differ in nothing but what their names say."""
    is_loop = given.method == "loop"
    per_epoch = -(-len(encoded["train"]) // given.batch_size)
    steps = given.steps or given.epochs * per_epoch
    # 0.01 is torch's default, which the usual script has.
    decay = 0.0 if is_loop else 0.01
    optimizer = torch.optim.AdamW(model.parameters(), lr=given.learning_rate, weight_decay=decay)
    schedule = get_linear_schedule_with_warmup(optimizer, round(0.1 * steps), steps)
    width = 128 if given.method == "script" else None
    batches = inputs.endless(
        encoded["train"], given.batch_size, given.order if is_loop else "random", random.Random(given.seed)
    )
    meter = Meter(given.warm)
    dev: list[float] = []
    loss = torch.tensor(0.0)
    model.train()
    meter.start()
    for step in range(1, steps + 1):
        batch = inputs.collate(next(batches), pad, width)
        meter.count(batch.useful, batch.padded)
        with torch.autocast("cpu", torch.bfloat16, enabled=given.precision == "bfloat16"):
            # The model's own loss: the mean over the valid targets of the batch.
            loss = model(**batch.inputs, labels=batch.labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        meter.stop()
        if is_loop and given.steps is None and step % per_epoch == 0:
            with meter.paused():
                dev.append(f1(model, encoded["dev"], labels, pad))
                print(f"epoch {step // per_epoch}: dev F1 {dev[-1]:.4f}", flush=True)
    result = meter.summary() | {"last_loss": round(loss.item(), 5)}
    if is_loop:
        result |= {"dev_f1": dev, "test_f1": f1(model, encoded["test"], labels, pad)}
        result["words_without_subwords"] = sum(p is None for e in encoded["train"] for p in e.firsts)
    return result


if __name__ == "__main__":
    main()
