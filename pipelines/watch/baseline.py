"""What a model's inputs and outputs are like when all is well: `baseline.json` in the model's folder.

Drift is how far what comes later is from it. The file holds shares alone: no text, and nothing of a single row.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass

from pipelines.errors import UserError
from pipelines.inference.predictor import Predictor
from pipelines.report.summary import write_json
from pipelines.watch.said import said

FILE = "baseline.json"
BINS = 10
MOST_LABELS = 20
"""Labels that are told apart, the most frequent ones: chance alone moves many rare ones."""
FEWEST = 100
"""Inputs from which on a baseline is worth anything."""
AT_ONCE = 256
"""Inputs that the predictor is given in one call."""

Share = Annotated[float, Field(ge=0, le=1)]
_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, config=_STRICT)
class Binned:
    """Numbers as shares: of those below `edges[0]`, of those from it to below `edges[1]`, ..., from the last on."""

    edges: tuple[float, ...]
    shares: tuple[Share, ...]

    @classmethod
    def of(cls, values: Sequence[float]) -> Binned | None:
        """Bins of about as many numbers each (deciles), and one on either side that is empty; None of no numbers."""
        if not values:
            return None
        cuts = np.quantile(values, np.linspace(0, 1, BINS, endpoint=False), method="inverted_cdf").tolist()
        edges = tuple(sorted({*cuts, float(np.nextafter(max(values), np.inf))}))
        counts = Counter(bisect_right(edges, value) for value in values)
        return cls(edges, tuple(counts[i] / len(values) for i in range(len(edges) + 1)))

    def bin(self, value: float) -> int:
        return bisect_right(self.edges, value)


@dataclass(frozen=True, config=_STRICT)
class Named:
    """Labels as shares; the last is that of all the others."""

    names: tuple[str, ...]
    shares: tuple[Share, ...]

    @classmethod
    def of(cls, values: Sequence[str]) -> Named | None:
        if not values:
            return None
        usual = Counter(values).most_common(MOST_LABELS)
        shares = [count / len(values) for _, count in usual]
        return cls(tuple(name for name, _ in usual), (*shares, max(0.0, 1 - sum(shares))))

    def bin(self, value: str) -> int:
        return self.names.index(value) if value in self.names else len(self.names)


@dataclass(frozen=True, config=_STRICT)
class Baseline:
    """None where a model's outputs have no such thing."""

    num_inputs: int
    lengths: Binned | None
    """Of inputs, in sub-words."""
    confidences: Binned | None
    labels: Named | None


def take(predictor: Predictor, inputs: Sequence[Any]) -> Baseline:
    """Let the predictor answer, and say what its inputs and answers are like.

    Raises:
        UserError: fewer than 100 inputs.
    """
    if len(inputs) < FEWEST:
        raise UserError(
            f"{len(inputs)} rows are no baseline: chance alone would look like drift. Give a split of at least "
            f"{FEWEST} rows."
        )
    lengths: list[float] = []
    labels: list[str] = []
    confidences: list[float] = []
    for at in range(0, len(inputs), AT_ONCE):
        readings = predictor.read(inputs[at : at + AT_ONCE])
        lengths += [reading.length for reading in readings]
        for found in map(said, predictor.answer(readings)):
            labels += found.labels
            confidences += found.confidences
    return Baseline(len(inputs), Binned.of(lengths), Binned.of(confidences), Named.of(labels))


def write(folder: Path, baseline: Baseline) -> Path:
    """Put it into a model's folder."""
    write_json(folder / FILE, asdict(baseline))
    return folder / FILE


def read(folder: Path) -> Baseline | None:
    """The baseline in a model's folder; None where there is none.

    Raises:
        UserError: the file is not what `write` writes.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        found = TypeAdapter(Baseline).validate_python(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, RecursionError):
        raise UserError(f"{path} is no baseline: write it anew with `python -m jobs.baseline`, or remove it.") from None
    binned = [one for one in (found.lengths, found.confidences) if one is not None]
    fits = all(len(one.shares) == len(one.edges) + 1 and list(one.edges) == sorted(one.edges) for one in binned)
    if not fits or (found.labels is not None and len(found.labels.shares) != len(found.labels.names) + 1):
        raise UserError(
            f"{path} has not one share for every bin: write it anew with `python -m jobs.baseline`, or remove it."
        )
    return found
