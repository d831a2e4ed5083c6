"""Each task with its config, its data, and what it must beat."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.tasks import baselines


@dataclass(frozen=True, slots=True)
class Entry:
    task: str
    config: str
    """In jobs/configs."""
    job: tuple[str, ...]
    """What writes its data: the job's name, and what goes before the folder."""
    baselines: Mapping[str, Callable[[Path], float]]
    """By what they are; all are to be beaten."""


ENTRIES = (
    Entry("token-classification", "addresses", ("addresses",), {"most frequent tag": baselines.most_frequent_tag}),
    Entry(
        "sequence-classification",
        "classification",
        ("samples", "spam"),
        {"majority": baselines.majority, "TF-IDF + logistic regression": baselines.tf_idf_logistic_regression},
    ),
    Entry("sentence-embedding", "embeddings", ("samples", "answers"), {"TF-IDF cosine": baselines.tf_idf_retrieval}),
    Entry("regression", "regression", ("samples", "sentiment"), {"TF-IDF + ridge": baselines.tf_idf_ridge}),
)
