"""What an evaluation refuses before anything is started."""

from __future__ import annotations

import pytest

from cluster.evaluating import evaluate_model
from pipelines.config import DataConfig
from pipelines.errors import UserError


def test_a_bound_on_memory_that_would_bound_nothing_is_refused() -> None:
    with pytest.raises(UserError, match=r"data\.memory would bound nothing\. Leave it out"):
        evaluate_model("model", DataConfig.model_validate({"path": "data", "memory": "64MB"}), split="test")
