"""How good, how fast and how large the forms of a model are, side by side on the same rows."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from pipelines.config import DataConfig
from pipelines.data.batches import evaluation_batches
from pipelines.data.pack import merge, pack
from pipelines.evaluate.answer import answer, labels_of, network_in
from pipelines.evaluate.evaluation import settled
from pipelines.inference.facts import read_facts
from pipelines.inference.network import Network
from pipelines.inference.predictor import TOKENS_PER_PASS
from pipelines.tasks import make_task
from pipelines.train.device import Device

SINGLE, TOGETHER = 24, 256
"""Rows that are asked one by one, and all together."""
PASSES = (512, 2048)
"""Most padded sub-words in a pass; each form counts with what suits it better, as a replica finds out for itself."""
ROUNDS = 5
WEIGHTS = ("*.safetensors", "*.onnx")


@dataclass(frozen=True, slots=True)
class Form:
    """One form of a model, measured."""

    name: str
    folder: Path
    bytes: int
    """Of its weights."""
    score: float
    score_name: str
    latency: float
    """Seconds of a row by itself, the median."""
    tokens_per_second: float
    """Sub-words of rows of the data, in passes of like lengths, padding not counted. Where forms have other tokenizers,
    those that the first one makes of these rows: all are timed for the same work."""


@dataclass(frozen=True, slots=True)
class _Asked:
    singles: Sequence[Mapping[str, Tensor]]
    passes: Mapping[int, Sequence[Mapping[str, Tensor]]]
    """By the most sub-words in one."""
    tokens: int


def measure_forms(
    folders: Mapping[str, Path], *, source: str, split: str, data: DataConfig, threads: int
) -> list[Form]:
    """Score each form on a split and time it; the forms take turns, so that what else the machine does meets all.

    Raises:
        UserError: the data cannot be used.
    """
    torch.set_num_threads(threads)
    device = Device.assigned([], threads)
    first = next(iter(folders.values()))
    task_name = str(read_facts(first)["task"])
    task, labels = make_task(task_name), labels_of(first)
    scores = {}
    for name, folder in folders.items():
        found = settled(task, answer(
            folder, task_name=task_name, source=source, split=split, data=data, token_budget=TOKENS_PER_PASS,
            device=device,
        ))  # fmt: skip
        scores[name] = task.report(found.gold, found.answers, labels)
    networks = {name: network_in(folder, task, labels, device)[0] for name, folder in folders.items()}
    asked = {
        name: _asked(folder, task, labels, source=source, split=split, data=data) for name, folder in folders.items()
    }
    latencies, speeds = _timed(networks, asked)
    return [
        Form(name, folder, _weight(folder), scores[name].score, scores[name].score_name, latencies[name], speeds[name])
        for name, folder in folders.items()
    ]


def _asked(folder: Path, task: Any, labels: Sequence[str], *, source: str, split: str, data: DataConfig) -> _Asked:
    from pipelines.data.read import read_split

    processor = task.load_processor(str(folder))
    rows = read_split(source, split=split, data=data, kind=task.kind).rows
    step = max(1, len(rows) // TOGETHER)
    encoded = task.encode(rows[::step][:TOGETHER], processor, labels, data.max_length)
    padding = task.padding(processor)

    def batch(numbers: Sequence[int]) -> Mapping[str, Tensor]:
        merged = merge([pack([encoded[n] for n in numbers], range(len(numbers)))], padding)
        inputs: Mapping[str, Tensor] = task.inputs(merged)
        return inputs

    singles = [batch([n]) for n in range(min(SINGLE, len(encoded)))]
    lengths = [row.length for row in encoded]
    passes = {most: [batch(one.rows) for one in evaluation_batches(lengths, token_budget=most)] for most in PASSES}
    return _Asked(singles, passes, sum(lengths))


def _timed(networks: Mapping[str, Network], asked: Mapping[str, _Asked]) -> tuple[dict[str, float], dict[str, float]]:
    alone: dict[str, list[float]] = {name: [] for name in networks}
    together: dict[str, dict[int, list[float]]] = {name: {most: [] for most in PASSES} for name in networks}
    tokens = next(iter(asked.values())).tokens
    with torch.inference_mode():
        # The first round warms up.
        for counts in range(ROUNDS + 1):
            for name, network in networks.items():
                took = [_seconds(network, batch) for batch in asked[name].singles]
                passes = asked[name].passes
                totals = {most: sum(_seconds(network, one) for one in some) for most, some in passes.items()}
                if counts:
                    alone[name] += took
                    for most, total in totals.items():
                        together[name][most].append(total)
    return (
        {name: median(took) for name, took in alone.items()},
        {name: tokens / min(map(median, by_size.values())) for name, by_size in together.items()},
    )


def _seconds(network: Network, batch: Mapping[str, Tensor]) -> float:
    begin = time.perf_counter()
    network(**batch)
    return time.perf_counter() - begin


def _weight(folder: Path) -> int:
    return sum(path.stat().st_size for pattern in WEIGHTS for path in folder.glob(pattern))
