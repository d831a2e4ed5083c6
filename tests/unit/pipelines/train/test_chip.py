import pytest

from pipelines.train.chip import multiplies_bfloat16


@pytest.mark.parametrize(
    ("cpuinfo", "expected"),
    [
        ("processor\t: 0\nflags\t\t: fpu avx512f avx512_bf16\n", True),
        ("flags\t\t: fpu avx2 amx_tile amx_bf16\n", True),
        ("Features\t: fp asimd bf16 i8mm\n", True),
        ("flags\t\t: fpu avx2 avx512f avx512_vnni\n", False),
        ("Features\t: fp asimd\n", False),
        ("model name\t: something\n", None),
    ],
)
def test_a_processor_multiplies_bfloat16_if_its_flags_say_so(cpuinfo: str, expected: bool | None) -> None:
    assert multiplies_bfloat16(cpuinfo) is expected
