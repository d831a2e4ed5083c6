"""Whether torch.compile pays on a CPU stage: `OMP_NUM_THREADS=1 python -m tests.bench.compiled`.

A random BERT of MiniLM's width and six layers, two micro-batches of 8 rows a step, of 12 to 47 sub-words each: a plain
torch loop, the same with every block compiled for dynamic shapes, and Motley's stage.
"""

from __future__ import annotations

import copy
import random
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from transformers import BertConfig, BertForTokenClassification

from pipelines.config import TrainConfig
from tests.unit.pipelines.one_process import OneProcess

WARM_UP, STEPS = 6, 14
Batches = list[dict[str, Tensor]]


def steps(count: int) -> list[Batches]:
    chance = random.Random(1)
    return [[_batch(chance.randrange(12, 48)) for _ in range(2)] for _ in range(count)]


def _batch(width: int) -> dict[str, Tensor]:
    mask = torch.ones(8, width, dtype=torch.int64)
    ids, labels = torch.randint(5, 3000, (8, width)), torch.randint(0, 9, (8, width))
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def plain(model: nn.Module) -> Callable[[int, Batches], object]:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)

    def step(_: int, batches: Batches) -> None:
        for batch in batches:
            (model(**batch).loss / len(batches)).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = BertConfig(
        hidden_size=384,
        num_hidden_layers=6,
        num_attention_heads=12,
        intermediate_size=1536,
        vocab_size=3000,
        num_labels=9,
    )
    model = BertForTokenClassification(config).train()
    compiled = copy.deepcopy(model)
    for block in compiled.bert.encoder.layer:
        block.forward = torch.compile(block.forward, dynamic=True)
    stage = OneProcess(copy.deepcopy(model), cut=[], train=TrainConfig(), num_steps=100)
    runs = {"plain torch": plain(model), "compiled": plain(compiled), "Motley": stage.step}
    data = steps(WARM_UP + STEPS)
    for name, run in runs.items():
        start = time.perf_counter()
        for n in range(WARM_UP):
            run(n, data[n])
        print(f"{name}: {time.perf_counter() - start:.1f} s for the first {WARM_UP} steps", flush=True)
    seconds = dict.fromkeys(runs, 0.0)
    for n in range(WARM_UP, WARM_UP + STEPS):
        # In turns, and by the processor's time: others on the machine disturb all alike.
        for name, run in runs.items():
            start = time.process_time()
            run(n, data[n])
            seconds[name] += time.process_time() - start
    print(", ".join(f"{name} {STEPS / spent:.2f}" for name, spent in seconds.items()), "steps in a second of the CPU")


if __name__ == "__main__":
    main()
