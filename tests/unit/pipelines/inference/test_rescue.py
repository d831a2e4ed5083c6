"""A failing input among others."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from pipelines.inference.predictor import Text, num_characters
from pipelines.inference.rescue import each

pytestmark = pytest.mark.timeout(30)


class Allergic:
    """Fails on a batch with "nuts" in it, and counts the characters of every other text: no model fails on demand."""

    def __init__(self) -> None:
        self.num_calls = 0

    def predict(self, inputs: Sequence[Text]) -> list[int]:
        self.num_calls += 1
        if Text("nuts") in inputs:
            raise RuntimeError(f"cannot read {inputs}")
        return [len(given.text) for given in inputs]


def test_inputs_share_a_pass() -> None:
    reader = Allergic()
    assert each(reader.predict, [Text("tea"), Text("rice")], num_characters) == [3, 4]
    assert reader.num_calls == 1


def test_a_failing_input_does_not_fail_the_others(caplog: pytest.LogCaptureFixture) -> None:
    assert each(Allergic().predict, [Text("tea"), Text("nuts"), Text("rice")], num_characters) == [3, None, 4]
    assert "nuts" not in caplog.text
    assert "4 characters: RuntimeError" in caplog.text
