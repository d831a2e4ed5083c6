"""Let a trained model label texts, on one or many actors of the cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ray

from cluster.session import connected
from cluster.waiting import wait_for
from pipelines.config import DataConfig
from pipelines.data.read import read_split
from pipelines.data.sources import sources
from pipelines.data.texts import TEXTS
from pipelines.inference import registry
from pipelines.train.device import Device
from pipelines.unlabelled.guess import Guess, guess

TIMEOUT = 3600.0
"""Seconds that a part of the texts may take."""


def label_texts(
    model: str, data: DataConfig, *, tracking_uri: str | None, actors: int, gpus: bool
) -> tuple[list[str], list[Guess]]:
    """The texts of the train split, and what the model takes each for.

    Args:
        model: a folder as jobs.train writes it, `models:/NAME@ALIAS` or `models:/NAME/VERSION`.
        actors: among which the texts are dealt; each takes one CPU, or one GPU.

    Raises:
        UserError: model or texts cannot be used, or the model's task has no labels.
    """
    folder, _ = registry.fetch(model, tracking_uri=tracking_uri)
    table = read_split(sources(data)["train"], split="train", data=data, kind=TEXTS)
    texts = [row.text for row in table.rows]
    needs = {"num_cpus": 0, "num_gpus": 1} if gpus else {"num_cpus": 1}
    with connected():
        # Any: what a remote function takes is known to Ray, not to the type checker.
        remote: Any = ray.remote(_part).options(max_retries=0, **needs)
        calls = {f"part {part}": remote.remote(folder, texts[part::actors]) for part in range(actors)}
        parts: list[list[Guess]] = wait_for(calls, to="label texts", timeout=TIMEOUT)
    return texts, [parts[n % actors][n // actors] for n in range(len(texts))]


def _part(folder: Path, texts: list[str]) -> list[Guess]:
    # Here, so that only an actor needs torch.
    from pipelines.inference.predictors import load_predictor

    gpu_ids = [str(i) for i in ray.get_runtime_context().get_accelerator_ids().get("GPU", [])]
    device = Device.assigned(gpu_ids, 1)
    return guess(load_predictor(folder, device=str(device.kind), threads=1), texts)
