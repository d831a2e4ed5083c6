"""What drift is, by numbers that can be checked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pipelines.watch.baseline import Baseline, Binned, Named
from pipelines.watch.drift import Drift, Window, psi
from pipelines.watch.said import Said


def test_equal_shares_have_no_index() -> None:
    assert psi([0.2, 0.3, 0.5], [0.2, 0.3, 0.5]) == 0


def test_the_index_is_the_sum_over_bins() -> None:
    expected = (0.8 - 0.5) * math.log(0.8 / 0.5) + (0.2 - 0.5) * math.log(0.2 / 0.5)
    assert psi([0.5, 0.5], [0.8, 0.2]) == pytest.approx(expected)
    assert expected == pytest.approx(0.4159, abs=1e-4)


def test_an_empty_bin_makes_it_large_and_not_infinite() -> None:
    assert 1 < psi([1.0, 0.0], [0.5, 0.5]) < 10


def test_a_window_says_nothing_of_too_few_values() -> None:
    window = Window([0.5, 0.5], size=10, fewest=4)
    for number in (0, 1, 0):
        window.add(number)
    assert window.psi() is None
    window.add(1)
    assert window.psi() == 0


def test_a_window_forgets_the_oldest_values() -> None:
    window = Window([0.5, 0.5], size=4, fewest=4)
    for number in (0, 0, 0, 0, 1, 1):
        window.add(number)
    assert (len(window), window.psi()) == (4, 0)


def test_only_what_moves_is_told_of() -> None:
    drift = Drift(BASELINE, size=1000, fewest=200)
    for length, confidence in zip(LENGTHS, CONFIDENCES, strict=True):
        drift.add(length + 100, Said(("a",), (confidence,)))
    found = drift.values()
    assert found["lengths"] > 1
    assert found["confidences"] < 0.01
    assert found["labels"] == pytest.approx(psi([0.5, 0.5, 0.0], [1, 0, 0]))


def test_new_values_from_the_same_source_are_no_drift() -> None:
    chance = np.random.default_rng(1)
    drift = Drift(BASELINE, size=1000, fewest=200)
    for _ in range(1000):
        label = "a" if chance.random() < 0.5 else "b"
        drift.add(int(chance.integers(5, 50)), Said((label,), (float(chance.random()),)))
    assert all(value < 0.1 for value in drift.values().values())


def test_what_the_baseline_has_not_is_not_looked_at() -> None:
    drift = Drift(Baseline(100, None, None, Named.of(["a"] * 100)), size=10, fewest=1)
    drift.add(3, Said(("a",), (0.5,)))
    assert drift.values() == {"labels": 0}


_chance = np.random.default_rng(0)
LENGTHS = [int(n) for n in _chance.integers(5, 50, 2000)]
CONFIDENCES = [float(p) for p in _chance.random(2000)]
BASELINE = Baseline(2000, Binned.of(LENGTHS), Binned.of(CONFIDENCES), Named.of(["a", "b"] * 1000))
