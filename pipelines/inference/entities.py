"""Tagged words become entities."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Entity:
    """A named piece of a text; `text` is exactly `given[start:end]`, counted in code points."""

    type: str
    start: int
    end: int
    text: str
    score: float
    """Mean probability of the entity's words, each for the label it got."""


@dataclass(frozen=True, slots=True)
class Tagged:
    """One word's place, label and probability."""

    start: int
    end: int
    label: str
    score: float


def join(text: str, words: Iterable[Tagged]) -> list[Entity]:
    """Join neighbours of one type; `B-` always opens an entity, `I-` opens one where there is none to go on.

    A label without `B-` or `I-` is a type whose neighbours join, as if all of them were `I-`.
    """
    groups: list[tuple[str, list[Tagged]]] = []
    previous: str | None = None
    for word in words:
        opens, kind = _read(word.label)
        if kind is not None:
            if opens or kind != previous:
                groups.append((kind, []))
            groups[-1][1].append(word)
        previous = kind
    return [_entity(text, kind, group) for kind, group in groups]


def _read(label: str) -> tuple[bool, str | None]:
    """Whether the label opens an entity, and the entity's type (none for `O`)."""
    if label == "O":
        return False, None
    prefix, dash, kind = label.partition("-")
    if dash and prefix in ("B", "I"):
        return prefix == "B", kind
    return False, label


def _entity(text: str, kind: str, words: list[Tagged]) -> Entity:
    start, end = words[0].start, words[-1].end
    score = sum(word.score for word in words) / len(words)
    return Entity(kind, start, end, text[start:end], score)
