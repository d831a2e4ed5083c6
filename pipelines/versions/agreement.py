"""How far two answers to the same input are the same, whatever the task: 0 to 1."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import fields
from math import sqrt
from typing import Any


def agreement(one: Any, other: Any) -> float:
    """Of two outputs of one kind of predictor, or of their JSON, of which only what is compared need be there.

    Raises:
        ValueError: no output of any task; or of two kinds.
        KeyError, TypeError: it lacks something, or has it in another form.
    """
    kind = compared_by(one)
    return COMPARE[kind](_part(one, kind), _part(other, kind))


def compared_by(output: Any) -> str:
    """The part of an output that is compared.

    Raises:
        ValueError: none of its parts is known here.
    """
    names = list(output) if isinstance(output, Mapping) else [field.name for field in fields(output)]
    for kind in COMPARE:
        if kind in names:
            return kind
    raise ValueError(f"an output is compared by one of {', '.join(COMPARE)}, and this has only {', '.join(names)}")


def _part(output: Any, name: str) -> Any:
    if isinstance(output, Mapping):
        return output[name]
    if not hasattr(output, name):
        raise ValueError(f"an output without {name} beside one with it: they are of two tasks")
    return getattr(output, name)


def _same(one: Any, other: Any) -> float:
    return float(one == other)


def _f1(one: Sequence[Hashable], other: Sequence[Hashable]) -> float:
    if not one and not other:
        return 1.0
    return 2 * len(set(one) & set(other)) / (len(set(one)) + len(set(other)))


def _same_entities(one: Sequence[Any], other: Sequence[Any]) -> float:
    """The F1 of their types and places."""
    return _f1(*([tuple(_part(e, name) for name in ("type", "start", "end")) for e in found] for found in (one, other)))


def _near(one: float, other: float) -> float:
    """1 less their difference, by the larger of the two where that is above 1."""
    return max(0.0, 1 - abs(one - other) / max(abs(one), abs(other), 1.0))


def _cosine(one: Sequence[float], other: Sequence[float]) -> float:
    if len(one) != len(other):
        return 0.0
    lengths = sqrt(sum(x * x for x in one)) * sqrt(sum(x * x for x in other))
    dot = sum(x * y for x, y in zip(one, other, strict=True))
    # Rounding must not make a vector differ from itself.
    return max(0.0, min(1.0, dot / lengths)) if lengths else float(list(one) == list(other))


def _same_guesses(one: Sequence[Sequence[Any]], other: Sequence[Sequence[Any]]) -> float:
    """The part of the gaps for which the same is likeliest."""
    if len(one) != len(other):
        return 0.0
    firsts = [[_part(gap[0], "text") if gap else None for gap in gaps] for gaps in (one, other)]
    return sum(map(_same, *firsts)) / len(one) if one else 1.0


COMPARE: dict[str, Callable[[Any, Any], float]] = {
    "entities": _same_entities,
    "label": _same,
    "labels": _f1,
    "value": _near,
    "answer": _same,
    "vector": _cosine,
    "gaps": _same_guesses,
    "text": _same,
}
"""By the part of an output that says what was found. A new kind of predictor is one line here."""
