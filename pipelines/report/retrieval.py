"""How well texts find what belongs to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.data.examples import Array

FIRST = 10


@dataclass(frozen=True, slots=True)
class RetrievalReport:
    """Of each text the rank of what belongs to it, among all different matching texts of the split."""

    ndcg: float
    """Normalised discounted cumulative gain of the first ten, with one right text: 1 / log2(1 + rank)."""
    reciprocal_rank: float
    """Mean of 1 / rank."""
    recall: dict[int, float]
    """Share of the texts whose own is among the first 1, 5, 10."""
    texts: int
    candidates: int

    @property
    def score(self) -> float:
        return self.ndcg

    @property
    def score_name(self) -> str:
        return "nDCG@10"

    def metrics(self, prefix: str) -> dict[str, float]:
        recall = {f"{prefix}/recall_at_{k}": share for k, share in self.recall.items()}
        return {f"{prefix}/ndcg_at_10": self.ndcg, f"{prefix}/mrr": self.reciprocal_rank} | recall

    def table(self) -> str:
        recall = ", ".join(f"recall@{k} {share:.4f}" for k, share in self.recall.items())
        return (
            f"nDCG@10 {self.ndcg:.4f}, MRR {self.reciprocal_rank:.4f}, {recall}; {self.texts:,} texts among "
            f"{self.candidates:,} candidates"
        )

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"recall": {str(k): share for k, share in self.recall.items()}}

    def draw(self, folder: Path) -> None:
        """Nothing: the figures say it."""


def ranks(gold: Sequence[str], vectors: Array) -> Array:
    """Of each row the rank, from 1, of its own matching text by cosine; of equals the worst place counts.

    Args:
        gold: the matching text of each row; equal ones are one candidate.
        vectors: [rows, 2, hidden], of length 1: the text's and the matching text's.
    """
    first = {text: row for row, text in reversed(list(enumerate(gold)))}
    at = {text: n for n, text in enumerate(first)}
    candidates = vectors[list(first.values()), 1]
    found = []
    for row, text in enumerate(gold):
        cosines = candidates @ vectors[row, 0]
        found.append(int((cosines >= cosines[at[text]]).sum()))
    return np.asarray(found)


def gain(rank: Array) -> Array:
    """What a text that is found at this rank is worth."""
    worth: Array = np.where(rank <= FIRST, 1 / np.log2(1 + rank), 0.0)
    return worth


def retrieval_report(found: Array, candidates: int) -> RetrievalReport:
    """Args: found: the rank of each row, from 1; candidates: among how many."""
    return RetrievalReport(
        ndcg=float(gain(found).mean()),
        reciprocal_rank=float((1 / found).mean()),
        recall={k: float((found <= k).mean()) for k in (1, 5, 10)},
        texts=len(found),
        candidates=candidates,
    )
