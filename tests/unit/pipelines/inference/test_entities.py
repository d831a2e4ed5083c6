"""Words with labels become entities."""

from __future__ import annotations

import pytest

from pipelines.inference.entities import Entity, Tagged, join

TEXT = "Ada B. of York Town"
SPANS = [(0, 3), (4, 6), (7, 9), (10, 14), (15, 19)]


def kinds(*labels: str) -> list[tuple[str, str]]:
    words = [Tagged(start, end, label, 0.5) for (start, end), label in zip(SPANS, labels, strict=True)]
    return [(entity.type, entity.text) for entity in join(TEXT, words)]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ("O O O O O", []),
        ("B-PER I-PER O B-LOC I-LOC", [("PER", "Ada B."), ("LOC", "York Town")]),
        ("B-PER B-PER O O O", [("PER", "Ada"), ("PER", "B.")]),
        ("O I-PER O O I-LOC", [("PER", "B."), ("LOC", "Town")]),
        ("B-PER I-LOC I-LOC O O", [("PER", "Ada"), ("LOC", "B. of")]),
        ("LABEL_0 LABEL_1 LABEL_1 O LABEL_1", [("LABEL_0", "Ada"), ("LABEL_1", "B. of"), ("LABEL_1", "Town")]),
        ("B-A-B I-A-B O O O", [("A-B", "Ada B.")]),
    ],
)
def test_labels_join(labels: str, expected: list[tuple[str, str]]) -> None:
    assert kinds(*labels.split()) == expected


def test_the_score_is_the_mean_of_the_words() -> None:
    words = [Tagged(0, 3, "B-PER", 1.0), Tagged(4, 6, "I-PER", 0.5)]
    assert join(TEXT, words) == [Entity("PER", 0, 6, "Ada B.", 0.75)]
