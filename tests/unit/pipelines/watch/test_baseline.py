"""What a baseline holds, and the file that it lies in."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import UserError
from pipelines.inference.class_predictor import Label, LabelPredictor, TextOrPair
from pipelines.inference.predictor import Reading
from pipelines.watch.baseline import FILE, Baseline, Binned, Named, read, take, write


class Sure(LabelPredictor):
    """Labels a text by its first letter; a model would add nothing to what is tested here."""

    def __init__(self) -> None:
        pass

    def read(self, inputs: Sequence[TextOrPair]) -> list[Reading]:
        return [Reading(given, (given,), len(given.text)) for given in inputs]

    def answer(self, readings: Sequence[Reading]) -> list[Any]:
        return [Label(reading.given.text[0], 0.75, {}) for reading in readings]


INPUTS = [TextOrPair("a" * (n % 10 + 1) if n % 4 else "bb") for n in range(400)]


def test_numbers_fall_into_deciles_with_an_empty_bin_on_either_side() -> None:
    found = Binned.of(range(100))
    assert found is not None
    assert found.edges[:3] == (0, 9, 19)
    assert found.shares[0] == found.shares[-1] == 0
    assert sum(found.shares) == pytest.approx(1)
    assert (found.bin(-1), found.bin(0), found.bin(99), found.bin(100)) == (0, 1, 10, 11)


def test_numbers_that_are_all_the_same_have_one_full_bin() -> None:
    found = Binned.of([7] * 5)
    assert found is not None
    assert found.shares == (0, 1, 0)
    assert [found.bin(value) for value in (6, 7, 8)] == [0, 1, 2]


def test_nothing_has_no_bins() -> None:
    assert Binned.of([]) is None
    assert Named.of([]) is None


def test_rare_labels_share_a_bin() -> None:
    found = Named.of(["usual"] * 60 + [f"rare{n}" for n in range(40)])
    assert found is not None
    assert (len(found.names), found.names[0], found.shares[0]) == (20, "usual", 0.6)
    assert found.shares[-1] == pytest.approx(0.21)
    assert found.bin("unheard of") == found.bin("rare39") == 20


def test_a_baseline_comes_back_from_its_file_and_holds_no_text(tmp_path: Path) -> None:
    baseline = take(Sure(), INPUTS)
    assert baseline.num_inputs == 400
    assert baseline.labels == Named(("a", "b"), (0.75, 0.25, 0.0))
    assert baseline.confidences is not None
    assert baseline.confidences.shares == (0, 1, 0)
    assert read(tmp_path) is None
    assert write(tmp_path, baseline) == tmp_path / FILE
    assert read(tmp_path) == baseline
    assert "aa" not in (tmp_path / FILE).read_text()


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(UserError, match=r"^99 rows are no baseline: .* at least 100 rows"):
        take(Sure(), INPUTS[:99])


@pytest.mark.parametrize(
    "broken",
    [
        "{",
        "[]",
        "[" * 100_000,
        '{"num_inputs": 1}',
        json.dumps({"num_inputs": 1, "lengths": {"edges": [1], "shares": [2, 0]}, "confidences": None, "labels": None}),
        json.dumps({"num_inputs": 1, "lengths": {"edges": [1], "shares": [1]}, "confidences": None, "labels": None}),
        json.dumps({"num_inputs": 1, "lengths": None, "confidences": None, "labels": {"names": ["a"], "shares": [1]}}),
        json.dumps(
            {"num_inputs": 1, "lengths": {"edges": [2, 1], "shares": [0, 1, 0]}, "confidences": None, "labels": None}
        ),
    ],
)
def test_a_file_that_is_no_baseline_is_refused(tmp_path: Path, broken: str) -> None:
    (tmp_path / FILE).write_text(broken)
    with pytest.raises(UserError, match=r"baseline\.json .* write it anew with `python -m jobs\.baseline`"):
        read(tmp_path)


def test_an_empty_baseline_is_one(tmp_path: Path) -> None:
    write(tmp_path, Baseline(100, None, None, None))
    assert read(tmp_path) == Baseline(100, None, None, None)
