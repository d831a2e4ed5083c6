"""Find a model and labelled rows, and measure what perturbations do to its answers, in this process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import torch

from pipelines.config import DataConfig
from pipelines.data.read import read_split
from pipelines.data.sources import sources
from pipelines.errors import UserError
from pipelines.inference import registry
from pipelines.inference.facts import read_facts
from pipelines.inference.predictors import load_predictor
from pipelines.robustness.entities import TaggedSubject
from pipelines.robustness.flips import Robustness, measure
from pipelines.robustness.labels import OneLabelSubject, SeveralLabelsSubject
from pipelines.robustness.perturb import perturbations
from pipelines.robustness.subject import Subject

SUBJECTS: dict[str, Subject] = {
    "token-classification": TaggedSubject(),
    "sequence-classification": OneLabelSubject(),
    "multi-label-classification": SeveralLabelsSubject(),
}
AT_ONCE = 256
"""Inputs that the predictor gets together: it sorts them by length."""


def examine(
    model: str,
    data: DataConfig,
    *,
    split: str,
    tracking_uri: str | None,
    rates: Mapping[str, float],
    only: Sequence[str] = (),
    most_rows: int | None = None,
    seed: int = 0,
    examples: bool = False,
) -> Robustness:
    """How robust a model's answers to a split are.

    Args:
        model: a folder as jobs.train writes it, `models:/NAME@ALIAS` or `models:/NAME/VERSION`.
        rates: of perturbations, by name, where they are not the usual ones.
        only: perturbations; all that the task has when empty.
        most_rows: of the split, drawn by the seed.
        examples: whether the worst rows are kept.

    Raises:
        UserError: model or data cannot be used, the task is none that can be perturbed, or an unknown perturbation.
    """
    folder, _ = registry.fetch(model, tracking_uri=tracking_uri)
    task, subject = _subject(folder)
    source = sources(data, needed=split)[split]
    rows: Sequence[Any] = read_split(source, split=split, data=data, kind=subject.kind).rows
    if most_rows is not None and most_rows < len(rows):
        rows = [rows[i] for i in sorted(Random(seed).sample(range(len(rows)), most_rows))]
    chosen = perturbations(rates, only, subject.entities([subject.sentences(row) for row in rows]))
    # One that reads texts and labels them, as the task says.
    predictor: Any = load_predictor(folder, threads=torch.get_num_threads())
    _check_labels(rows, subject, predictor.labels, f"The {split} split of {source}")

    def ask(inputs: Sequence[Any]) -> list[Any]:
        parts = [predictor.predict(inputs[at : at + AT_ONCE]) for at in range(0, len(inputs), AT_ONCE)]
        return [answer for part in parts for answer in part]

    return measure(
        subject, rows, chosen, ask, seed=seed, examples=examples,
        model=model, data=str(data.path or source), split=split, task=task,
    )  # fmt: skip


def _subject(folder: Path) -> tuple[str, Subject]:
    task = read_facts(folder).get("task")
    if not isinstance(task, str):
        raise UserError(
            f"{folder} has no task.json that names its task: give a model's folder as jobs.train writes it."
        )
    if task not in SUBJECTS:
        raise UserError(
            f"{folder} was trained for {task}, whose answers cannot be held against each other here: perturbations "
            f"are for {', '.join(SUBJECTS)}. Give a model of one of these tasks."
        )
    return task, SUBJECTS[task]


def _check_labels(rows: Sequence[Any], subject: Subject, labels: Sequence[str], named: str) -> None:
    """
    Raises:
        UserError: the rows hold labels that are not the model's.
    """
    there = {label for row in rows for label in subject.kind.labels_of(row)}
    if unknown := sorted(there.difference(labels)):
        raise UserError(
            f"{named} holds labels that the model does not know: {', '.join(unknown[:10])} (it knows "
            f"{', '.join(labels[:20])}). Correct or remove them, or give the data that belongs to the model."
        )
