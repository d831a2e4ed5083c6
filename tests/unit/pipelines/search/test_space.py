"""What a search may choose from, and what it tells in the end."""

import pytest

from pipelines.errors import UserError
from pipelines.search.found import Found, Tried, table
from pipelines.search.space import Choice, Range, corners, overrides, parse_space


def test_ranges_and_choices() -> None:
    assert parse_space(["train.learning_rate=1e-5..1e-3", "train.epochs=2..6", "train.decay=linear,cosine"]) == {
        "train.learning_rate": Range(1e-5, 1e-3, whole=False),
        "train.epochs": Range(2, 6, whole=True),
        "train.decay": Choice(("linear", "cosine")),
    }


def test_what_spans_a_decade_goes_by_the_logarithm() -> None:
    assert Range(1e-5, 1e-4, whole=False).by_logarithm
    assert not Range(0.1, 0.5, whole=False).by_logarithm
    assert not Range(0, 100, whole=False).by_logarithm


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ([], r"nothing to search: say what to vary with --search"),
        (["train.epochs"], r"does not say what to search"),
        (["=1..2"], r"does not say what to search"),
        (["a=1..2", "a=3..4"], r"'a=3\.\.4' does not say what to search.*once for each key"),
        (["a=2..1"], r"is no range: write two numbers, the lower first"),
        (["a=x..y"], r"is no range"),
        (["a=1..inf"], r"is no range"),
        (["a=1"], r"leaves nothing to choose"),
    ],
)
def test_what_cannot_be_searched_is_an_error(written: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_space(written)


def test_every_value_and_both_ends_can_be_checked_before() -> None:
    assert list(corners(parse_space(["a.b=2..6", "c.d=x,null"]))) == [
        ["a.b=2"], ["a.b=6"], ['c.d="x"'], ["c.d=null"],
    ]  # fmt: skip
    assert overrides({"train.learning_rate": 1e-05}) == ["train.learning_rate=1e-05"]


def test_the_table_begins_with_the_best_and_ends_with_what_is_gained() -> None:
    trials = [
        Tried("00001", {"a": 0.25}, False, 0.75, 3, stopped=False, problem=None),
        Tried("00000", {"a": 0.5}, True, 0.5, 3, stopped=False, problem=None),
        Tried("00002", {"a": 1.0}, False, None, 0, stopped=False, problem="no room"),
    ]
    lines = table(Found("F1", trials)).splitlines()
    assert lines[1].split() == ["00001", "a=0.25", "0.7500", "3"]
    assert "a=0.5 (the config as it is)" in lines[2]
    assert lines[3].endswith("failed       0 (no room)")
    assert lines[4] == "better than the config as it is by 0.2500"
