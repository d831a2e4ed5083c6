"""What PyYAML passes in silence, trips over, or blows up."""

import pytest
import yaml

from pipelines.yaml_text import parse, shown

NINE = "".join(f"x{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
MERGED = "".join(f"x{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 12))


def test_what_safe_load_reads_is_read_alike() -> None:
    text = "a: &a {b: 1, c: [x, 0.5, null, true]}\nd: {<<: *a, b: 2}\ne: 2020-01-01\n"
    assert parse(text) == yaml.safe_load(text)
    assert parse("") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: {b: 1, c: 2, b: 3}", "the key 'b' is here a second time; keep one of the two"),
        ("a: 1\nb: 2\na: 3", "line 3, column 1"),
        ("a: 2020-99-99", "'2020-99-99' cannot be read as timestamp; put it in quotes"),
        ("a: !!int x", "'x' cannot be read as int"),
        ("a: !!bool x", "'x' cannot be read as bool"),
        ("a: !!timestamp x", "'x' cannot be read as timestamp"),
        ("a: 0b_", "'0b_' cannot be read as int"),
        ("a: " + "9" * 5000, "cannot be read as int"),
        ("a: 0x" + "f" * 5000, "is a whole number of more than 64 bits"),
        ("a: 9223372036854775808", "is a whole number of more than 64 bits"),
        ('a: "x\\0y"', "holds NUL or half of a surrogate pair"),
        ('a: "\\ud800"', "holds NUL or half of a surrogate pair"),
        ("a: &a [*a]", "holds itself; write out what is meant"),
        ("x0: &a0 [1]\n" + NINE, "the aliases in it stand for more than"),
        ("x0: &a0 {k: 1}\n" + MERGED, "the aliases in it stand for more than"),
        ("[" * 5000, "nested too deep"),
    ],
)
def test_what_nobody_can_have_meant_is_refused_with_the_reason(text: str, message: str) -> None:
    with pytest.raises(yaml.YAMLError) as caught:
        parse(text)
    assert message in str(caught.value)


def test_a_long_value_is_shown_in_part() -> None:
    assert shown({"x": 1}) == "{'x': 1}"
    assert shown("x" * 9, limit=4) == "'xxx..."
