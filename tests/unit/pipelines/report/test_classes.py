"""Scores of classes, of sets of labels, and of numbers."""

from pathlib import Path

import numpy as np
import pytest

from pipelines.report.classes import class_report, label_report
from pipelines.report.numbers import number_report

LABELS = ["a", "b", "c"]


def test_classes_are_scored_by_the_likeliest(tmp_path: Path) -> None:
    answers = np.array([[0.9, 0.1, 0], [0.2, 0.8, 0], [0.6, 0.4, 0], [0, 0, 1.0]])
    report = class_report(["a", "b", "b", "c"], answers, LABELS)
    assert report.score == report.accuracy == 0.75
    assert report.confusion == ((1, 0, 0), (1, 1, 0), (0, 0, 1))
    assert report.macro_f1 == pytest.approx((2 / 3 + 2 / 3 + 1) / 3)
    assert set(report.metrics("dev")) == {"dev/accuracy", "dev/macro_f1", "dev/a/f1", "dev/b/f1", "dev/c/f1"}
    assert report.table().splitlines()[-1] == "accuracy 0.7500, macro F1 0.7778"
    report.draw(tmp_path)
    assert (tmp_path / "confusion.png").is_file()


def test_of_many_classes_the_picture_shows_those_that_are_confused(tmp_path: Path) -> None:
    labels = [f"class {n:03d}" for n in range(100)]
    report = class_report(labels, np.roll(np.eye(100), 1, axis=1), labels)
    report.draw(tmp_path)
    assert (tmp_path / "confusion.png").is_file()
    assert report.accuracy == 0


def test_labels_are_said_from_one_half_on() -> None:
    report = label_report([("a", "b"), (), ("c",)], np.array([[0.5, 0.4, 0], [0.1, 0, 0], [0, 0.9, 0.9]]), LABELS)
    assert (report.micro.correct, report.micro.predicted, report.micro.support) == (2, 3, 3)
    assert report.score == pytest.approx(2 / 3)
    assert report.exact == pytest.approx(1 / 3)


def test_numbers_are_scored_by_correlation_and_error() -> None:
    report = number_report([1, 2, 3], np.array([2.0, 4.0, 7.0]))
    assert report.spearman == pytest.approx(1)
    assert report.pearson == pytest.approx(0.9933993, abs=1e-6)
    assert report.mean_absolute_error == pytest.approx(7 / 3)
    assert report.root_mean_squared_error == pytest.approx((21 / 3) ** 0.5)


def test_what_does_not_vary_correlates_with_nothing() -> None:
    assert number_report([1, 2], np.array([3.0, 3.0])).pearson == 0
