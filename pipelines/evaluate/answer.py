"""Ask a model's folder for its answers to some of a split's rows, in this process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from pipelines.config import DataConfig
from pipelines.data.batches import evaluation_batches
from pipelines.data.order import Order, pieces_of
from pipelines.data.pack import merge, pack
from pipelines.data.read import read_split
from pipelines.errors import UserError
from pipelines.evaluate.evaluation import Answered
from pipelines.inference.files import refuse_pickle
from pipelines.inference.network import GRAPH, Network, read_graph
from pipelines.model.load import load_model
from pipelines.model.pretrained import positions
from pipelines.tasks import make_task
from pipelines.tasks.task import Task
from pipelines.train.device import Device


def labels_of(folder: Path) -> list[str]:
    """What the classes of the model in a folder stand for; empty where it has none."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    if getattr(config, "problem_type", None) == "regression" or not config.id2label:
        return []
    names = {int(i): label for i, label in config.id2label.items()}
    return [names[i] for i in range(len(names))]


def check_labels(found: frozenset[str], known: Sequence[str], *, source: str, split: str) -> None:
    """
    Args:
        known: the model's; empty where it has none.

    Raises:
        UserError: the split holds others.
    """
    if unknown := sorted(found.difference(known)) if known else []:
        raise UserError(
            f"The {split} split of {source} holds labels that the model does not know: {', '.join(unknown[:10])} (it "
            f"knows {', '.join(known[:20])}). Correct or remove them, or give the data that belongs to the model."
        )


def network_in(folder: Path, task: Task, labels: Sequence[str], device: Device) -> tuple[Network, int]:
    """The model in a folder, or its graph where there is one, and how many sub-words it reads in one piece.

    Raises:
        UserError: a pickle, no model, a graph that cannot be read, or one that is to run on a GPU.
    """
    refuse_pickle(folder)
    device.settle()
    if (folder / GRAPH).is_file():
        if device.kind.type != "cpu":
            raise UserError(f"{folder} holds a graph for CPUs: leave out --gpus, or take the model it was made of.")
        graph = read_graph(folder, threads=torch.get_num_threads())
        return graph, graph.longest
    options = task.model_options(labels)
    model = load_model(str(folder), auto_class=task.auto_class, dtype="float32", seed=0, **options).eval()
    model.to(device.kind)
    return model, positions(model)


def answer(
    folder: Path,
    *,
    task_name: str,
    source: str,
    split: str,
    data: DataConfig,
    token_budget: int,
    device: Device,
    part: int = 0,
    num_parts: int = 1,
) -> Answered:
    """Every `num_parts`-th row from row `part` on, and the model's answers to them.

    Args:
        folder: as jobs.train writes it.
        token_budget: most padded sub-words in one pass.

    Raises:
        UserError: model or data cannot be used.
    """
    task = make_task(task_name)
    labels = labels_of(folder)
    model, reads = network_in(folder, task, labels, device)
    processor = task.load_processor(str(folder))
    table = read_split(source, split=split, data=data, kind=task.kind)
    check_labels(table.labels, labels, source=source, split=split)
    rows = table.rows[part::num_parts]
    longest = min(data.max_length, getattr(processor, "model_max_length", data.max_length), reads)
    encoded = task.encode(rows, processor, labels, longest)
    padding = task.padding(processor)
    answers: dict[int, Any] = {}
    for batch in evaluation_batches([row.length for row in encoded], token_budget=token_budget):
        merged = merge([pack([encoded[n] for n in batch.rows], range(len(batch.rows)))], padding)
        here = {name: device.take(column) for name, column in merged.items()}
        with torch.inference_mode():
            found = task.answers(model(**task.inputs(here)), here)
        answers.update(zip(batch.rows, found, strict=True))
    pieces = pieces_of([one.continues for one in encoded]).tolist()
    of = [row for row, count in zip(rows, pieces, strict=True) for _ in range(count)]
    return Answered(
        pieces=pieces,
        texts=[task.kind.shown(row) for row in of],
        lengths=[one.length for one in encoded],
        gold=[task.gold(row, one) for row, one in zip(of, encoded, strict=True)],
        answers=[answers[n] for n in range(len(encoded))],
    )


def together(parts: Sequence[Answered]) -> Answered:
    """The split's examples in their own order, from the parts of all who answered."""
    order, most = Order([part.pieces for part in parts]), len(parts[0].pieces)
    return Answered(
        pieces=[part.pieces[n] for n in range(most) for part in parts if n < len(part.pieces)],
        texts=order.join([part.texts for part in parts]),
        lengths=order.join([part.lengths for part in parts]),
        gold=order.join([part.gold for part in parts]),
        answers=order.join([part.answers for part in parts]),
    )
