"""A failing text among others."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from pipelines.inference.entities import Entity
from pipelines.inference.rescue import predict_each

pytestmark = pytest.mark.timeout(30)


class Allergic:
    """Fails on a batch with "nuts" in it, and finds one entity in every other text: no model fails on demand."""

    def __init__(self) -> None:
        self.num_calls = 0

    def predict(self, texts: Sequence[str]) -> list[list[Entity]]:
        self.num_calls += 1
        if "nuts" in texts:
            raise RuntimeError(f"cannot read {texts}")
        return [[Entity("FOOD", 0, len(text), text, 1.0)] for text in texts]


def test_texts_share_a_pass() -> None:
    reader = Allergic()
    assert predict_each(reader, ["tea", "rice"]) == reader.predict(["tea", "rice"])
    assert reader.num_calls == 2


def test_a_failing_text_does_not_fail_the_others(caplog: pytest.LogCaptureFixture) -> None:
    found = predict_each(Allergic(), ["tea", "nuts", "rice"])
    assert [entities and entities[0].text for entities in found] == ["tea", None, "rice"]
    assert "nuts" not in caplog.text
    assert "4 characters: RuntimeError" in caplog.text
