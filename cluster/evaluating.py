"""Ask a trained model for its answers to a split, on one or many actors of the cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ray

from cluster.session import connected
from cluster.waiting import wait_for
from pipelines.config import DataConfig
from pipelines.data.sources import sources
from pipelines.errors import UserError
from pipelines.evaluate.answer import answer, labels_of, together
from pipelines.evaluate.evaluation import Answered, Evaluation, evaluate
from pipelines.inference import registry
from pipelines.inference.facts import read_facts
from pipelines.tasks import make_task
from pipelines.train.device import Device

TIMEOUT = 3600.0
"""Seconds that a part of a split may take."""


def evaluate_model(
    model: str,
    data: DataConfig,
    *,
    split: str,
    against: str | None = None,
    tracking_uri: str | None = None,
    actors: int = 1,
    gpus: bool = False,
    token_budget: int = 4096,
) -> Evaluation:
    """Everything there is to know of a model on a split.

    Args:
        model: a folder as jobs.train writes it, `models:/NAME@ALIAS` or `models:/NAME/VERSION`.
        against: another one, for a comparison on the same rows.
        actors: among which the rows are dealt; each takes one CPU, or one GPU.

    Raises:
        UserError: model or data cannot be used, the split is not there, or the two models have other classes.
    """
    if data.memory is not None:
        raise UserError(
            "An evaluation holds a split's rows in memory, and data.memory would bound nothing. Leave it out; with "
            "more --actors each of them holds fewer rows."
        )
    folder, task = _folder(model, tracking_uri)
    found = sources(data, needed=split)
    other = None if against is None else _folder(against, tracking_uri)
    labels = labels_of(folder)
    if other is not None and (other[1] != task or labels_of(other[0]) != labels):
        raise UserError(f"{against} is of another task, or has other labels, than {model}: they cannot be compared.")
    folders = [folder, *([] if other is None else [other[0]])]
    with connected():
        parts = _answers(
            folders,
            actors,
            gpus,
            task_name=task,
            source=found[split],
            split=split,
            data=data,
            token_budget=token_budget,
        )
    return evaluate(
        make_task(task),
        labels,
        parts[0],
        model=model,
        data=str(data.path or found[split]),
        split=split,
        task_name=task,
        against=None if against is None else (against, parts[1]),
    )


def _answers(folders: list[Path], actors: int, gpus: bool, **asked: Any) -> list[Answered]:
    """Of each folder's model, in the order of the split's rows."""
    needs = {"num_cpus": 0, "num_gpus": 1} if gpus else {"num_cpus": 1}
    # Any: what a remote function takes is known to Ray, not to the type checker.
    remote: Any = ray.remote(_part).options(max_retries=0, **needs)
    calls = {
        f"part {part} of model {m}, {folder}": remote.remote(folder, part=part, num_parts=actors, **asked)
        for m, folder in enumerate(folders)
        for part in range(actors)
    }
    answered = wait_for(calls, to="answer", timeout=TIMEOUT)
    return [together(answered[at : at + actors]) for at in range(0, len(answered), actors)]


def _part(folder: Path, **asked: Any) -> Answered:
    gpu_ids = [str(i) for i in ray.get_runtime_context().get_accelerator_ids().get("GPU", [])]
    return answer(folder, device=Device.assigned(gpu_ids, 1), **asked)


def _folder(model: str, tracking_uri: str | None) -> tuple[Path, str]:
    """Where a model lies on this machine, and its task.

    Raises:
        UserError: there is no such model, or it does not say what it was trained for.
    """
    folder, _ = registry.fetch(model, tracking_uri=tracking_uri)
    task = read_facts(folder).get("task")
    if not isinstance(task, str):
        raise UserError(
            f"{folder} has no task.json that names its task: give a model's folder as jobs.train writes it."
        )
    make_task(task)
    return folder, task
