"""A failing input among others."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from pipelines.inference.predictor import Text
from pipelines.inference.rescue import predict_each

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
    assert predict_each(reader, [Text("tea"), Text("rice")]) == [3, 4]
    assert reader.num_calls == 1


def test_a_failing_input_does_not_fail_the_others(caplog: pytest.LogCaptureFixture) -> None:
    assert predict_each(Allergic(), [Text("tea"), Text("nuts"), Text("rice")]) == [3, None, 4]
    assert "nuts" not in caplog.text
    assert "4 characters: RuntimeError" in caplog.text
