"""Which texts a model may learn from by itself, and which a person should label."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.unlabelled.guess import Guess


@dataclass(frozen=True, slots=True)
class Chosen:
    rows: list[Mapping[str, Any]]
    num_texts: int
    """All that were read."""
    num_repeated: int
    """Left out because the same text came before."""
    labels: Mapping[str, int]
    """How often each was found in what was chosen."""

    def to_json(self) -> dict[str, Any]:
        """Counts alone: no text."""
        return {
            "texts": self.num_texts,
            "chosen": len(self.rows),
            "repeated": self.num_repeated,
            "labels": dict(sorted(self.labels.items())),
        }


def sure_ones(texts: Sequence[str], guesses: Sequence[Guess], *, at_least: float) -> Chosen:
    """Texts that the model is sure of, as rows of training data, in their order (self-training, Yarowsky 1995)."""
    first = _first(texts)
    kept = [guesses[n] for n in first if guesses[n].sure >= at_least]
    return _chosen([one.row for one in kept], kept, texts, first)


def doubtful_ones(texts: Sequence[str], guesses: Sequence[Guess], *, most: int) -> Chosen:
    """Texts that the model doubts most, the most doubtful first, with what it takes them for (uncertainty sampling,
    Lewis and Gale 1994)."""
    first = _first(texts)
    kept = sorted(first, key=lambda n: (-guesses[n].doubt, n))[:most]
    rows: list[Mapping[str, Any]] = [
        {"text": texts[n], "guess": guesses[n].row, "doubt": round(guesses[n].doubt, 6)} for n in kept
    ]
    return _chosen(rows, [guesses[n] for n in kept], texts, first)


def lines(rows: Iterable[Mapping[str, Any]]) -> str:
    """JSON lines."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _first(texts: Sequence[str]) -> list[int]:
    """The first of all texts that are alike, without the empty ones."""
    numbers: dict[str, int] = {}
    for n, text in enumerate(texts):
        if text.strip():
            numbers.setdefault(text.strip(), n)
    return list(numbers.values())


def _chosen(rows: list[Mapping[str, Any]], kept: Sequence[Guess], texts: Sequence[str], first: Sequence[int]) -> Chosen:
    return Chosen(rows, len(texts), len(texts) - len(first), Counter(label for one in kept for label in one.labels))
