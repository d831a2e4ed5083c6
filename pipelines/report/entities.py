"""Precision, recall and F1 of whole entities (CoNLL), and which types are taken for which, token by token."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

# The scorer's own walk over the tags: counting here gives every type's counts in one pass and leaves
# no division by zero to warn about.
from seqeval.metrics.sequence_labeling import get_entities

OUTSIDE = "O"


@dataclass(frozen=True, slots=True)
class Score:
    """How well entities were found: shares from 0 to 1, and the counts of entities behind them."""

    precision: float
    recall: float
    f1: float
    support: int
    """Entities in the gold tags."""
    predicted: int
    """Entities in the predicted tags."""
    correct: int
    """Predicted entities with the gold entity's type, first and last token."""

    @classmethod
    def of(cls, *, correct: int, predicted: int, support: int) -> Score:
        """A share of nothing is 0, as in conlleval: never predicted, or never there."""
        precision = correct / predicted if predicted else 0.0
        recall = correct / support if support else 0.0
        f1 = 2 * correct / (predicted + support) if predicted + support else 0.0
        return cls(precision, recall, f1, support, predicted, correct)


@dataclass(frozen=True, slots=True)
class EntityReport:
    micro: Score
    """Over the entities of all types."""
    types: Mapping[str, Score]
    """One score for each type that was there or was predicted, by name."""
    names: tuple[str, ...]
    """What the rows and columns of `confusion` stand for: the types by name, then `O`."""
    confusion: tuple[tuple[int, ...], ...]
    """`confusion[gold][predicted]`: tokens, whether they begin or continue an entity."""

    @property
    def score(self) -> float:
        return self.micro.f1

    @property
    def score_name(self) -> str:
        return "F1"

    def draw(self, folder: Path) -> None:
        """`confusion.png`."""
        # Imported here: whoever only counts needs no matplotlib.
        from pipelines.report.pictures import confusion_matrix

        confusion_matrix(folder / "confusion.png", self.names, self.confusion)

    def metrics(self, prefix: str) -> dict[str, float]:
        """`PREFIX/f1` and `PREFIX/TYPE/f1`, the same for precision and recall, named as MLflow allows.

        Raises:
            ValueError: two types have names that differ only in what MLflow does not allow.
        """
        found = dict(_shares(prefix, self.micro))
        safe = metric_names(self.types)
        for name, score in self.types.items():
            found.update(_shares(f"{prefix}/{safe[name]}", score))
        return found

    def table(self) -> str:
        """One line a type and one for all of them, in columns; shares with four digits."""
        rows = [*self.types.items(), ("micro average", self.micro)]
        width = max(len(name) for name, _ in [*rows, ("entity", self.micro)])
        lines = [f"{'entity':<{width}}  precision  recall      F1  support"]
        lines += [f"{n:<{width}}  {s.precision:>9.4f}  {s.recall:.4f}  {s.f1:.4f}  {s.support:>7}" for n, s in rows]
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """The same numbers as a tree of dicts, lists and numbers that `json.dumps` takes."""
        return {
            "micro": asdict(self.micro),
            "types": {name: asdict(score) for name, score in self.types.items()},
            "confusion": {"names": list(self.names), "matrix": [list(row) for row in self.confusion]},
        }


def entity_report(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> EntityReport:
    """Compare predicted IOB2 tags with gold ones, a sequence of tags for each row.

    As in conlleval, an I- tag that nothing opened counts as the beginning of an entity.

    Raises:
        ValueError: the rows or the tags of a row do not pair up, or a tag is not `O`, `B-TYPE` or `I-TYPE`.
    """
    if len(gold) != len(predicted):
        raise ValueError(f"There are {len(gold)} rows of gold tags but {len(predicted)} of predicted ones.")
    for row, (ours, theirs) in enumerate(zip(gold, predicted, strict=True)):
        if len(ours) != len(theirs):
            raise ValueError(f"Row {row} has {len(ours)} gold tags but {len(theirs)} predicted ones.")
    pairs = Counter(
        pair for ours, theirs in zip(gold, predicted, strict=True) for pair in zip(ours, theirs, strict=True)
    )
    type_of = {tag: _type(tag) for pair in pairs for tag in pair}

    gold_entities, found_entities = _entities(gold), _entities(predicted)
    support = Counter(entity[1] for entity in gold_entities)
    guesses = Counter(entity[1] for entity in found_entities)
    correct = Counter(entity[1] for entity in gold_entities & found_entities)
    types = sorted(set(type_of.values()) - {OUTSIDE})
    names = (*types, OUTSIDE)

    index = {name: i for i, name in enumerate(names)}
    matrix = [[0] * len(names) for _ in names]
    for (ours, theirs), count in pairs.items():
        matrix[index[type_of[ours]]][index[type_of[theirs]]] += count
    return EntityReport(
        micro=Score.of(correct=correct.total(), predicted=guesses.total(), support=support.total()),
        types={name: Score.of(correct=correct[name], predicted=guesses[name], support=support[name]) for name in types},
        names=names,
        confusion=tuple(tuple(row) for row in matrix),
    )


def entities_in(tags: Sequence[str]) -> set[tuple[str, int, int]]:
    """(type, first token, last token) of every entity of a row."""
    return set(get_entities(list(tags)))


def _entities(rows: Sequence[Sequence[str]]) -> set[tuple[int, str, int, int]]:
    """(row, type, first token, last token) of every entity."""
    return {(row, *entity) for row, tags in enumerate(rows) for entity in entities_in(tags)}


def _type(tag: str) -> str:
    if tag == OUTSIDE:
        return OUTSIDE
    if tag[:2] not in ("B-", "I-") or len(tag) == 2:
        raise ValueError(f"{tag!r} is not an IOB2 tag: O, B-TYPE or I-TYPE is needed.")
    if tag[2:] == OUTSIDE:
        raise ValueError(f"The tag {tag!r} names its type 'O', which stands for no entity.")
    return tag[2:]


def metric_names(names: Iterable[str]) -> dict[str, str]:
    """Each name as MLflow allows it.

    Raises:
        ValueError: two names differ only in what MLflow does not allow.
    """
    taken: dict[str, str] = {}
    for name in names:
        safe = _safe(name)
        if safe in taken:
            raise ValueError(f"The labels {taken[safe]!r} and {name!r} would share the metric name {safe!r}.")
        taken[safe] = name
    return {name: safe for safe, name in taken.items()}


def _safe(name: str) -> str:
    """Letters, digits and `_ - .` only; `/` goes too, so that a type cannot reach another's metrics."""
    safe = re.sub(r"[^A-Za-z0-9_. -]", "_", name).strip()
    return safe.replace(".", "_") if not safe.strip(".") else safe


def _shares(prefix: str, score: Score) -> Iterable[tuple[str, float]]:
    return (
        (f"{prefix}/precision", score.precision),
        (f"{prefix}/recall", score.recall),
        (f"{prefix}/f1", score.f1),
    )
