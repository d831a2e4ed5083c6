"""How a value is quoted in an error."""

import pytest

from pipelines.data.rows import quote


def deep(levels: int) -> list[object]:
    value: list[object] = []
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "quoted"),
    [
        ("Ada", "'Ada'"),
        ("x" * 50, f"'{'x' * 40}'..."),
        (None, "'None'"),
        (deep(100_000), "'<list>'"),
        (16**5000, "'<int>'"),
    ],
    ids=["short", "long", "nothing", "deep", "large"],
)
def test_a_quotation_is_short_whatever_the_value(value: object, quoted: str) -> None:
    assert quote(value) == quoted
