"""A measurement on the screen."""

from __future__ import annotations

import io

from rich.console import Console

from pipelines.report.measured_table import Measuring, show
from tests.unit.pipelines.plan.measured_example import MEASURED


def console() -> Console:
    return Console(file=io.StringIO(), width=120, force_terminal=False)


def text(of: Console) -> str:
    assert isinstance(of.file, io.StringIO)
    return of.file.getvalue()


def test_every_unit_has_its_times_on_every_type_in_the_largest_shape() -> None:
    out = console()
    show(MEASURED, out)
    assert "BertForTokenClassification, 8 rows of 8 sub-words: forward + backward + weights (ms)" in text(out)
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text(out).splitlines() if "│" in line]
    assert rows == [
        ["embeddings", "2.00 + 0.00 + 0.00", "6.00 + 0.00 + 0.00", "4,000"],
        ["block", "8.00 + 12.00 + 8.00", "24.00 + 36.00 + 24.00", "16,000"],
        ["head", "4.00 + 6.00 + 2.00", "12.00 + 18.00 + 6.00", "800"],
        ["a pass, whatever the units", "1.00 + 2.00", "2.00 + 4.00", ""],
    ]


def test_types_and_ways_are_told_in_a_line_each() -> None:
    out = console()
    show(MEASURED, out)
    lines = text(out).splitlines()
    assert lines[:2] == [
        "fast: H100, bfloat16, 1.0 GiB for a stage",
        "slow: EPYC, 2 threads, float32, 2.0 GiB for a stage; 2 of a node at once run at 50%",
    ]
    assert lines[-4:-2] == [
        "fast and slow, from node to node: 1,000 us, 100 MB/s",
        "fast and fast, within a node: 100 us, 1,000 MB/s",
    ]


def test_without_a_terminal_each_thing_that_is_measured_is_one_line() -> None:
    out = console()
    with Measuring(out) as measuring:
        for what, done in (("units on fast", 0), ("units on fast", 1), ("ways between devices", 0)):
            measuring.tell(what, done, 1)
    assert text(out) == "measuring: units on fast\nmeasuring: ways between devices\n"
