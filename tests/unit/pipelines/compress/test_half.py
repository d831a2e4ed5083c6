"""A model in bfloat16: half as large, and answers that are near."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from pipelines.compress.half import halve, pays_here
from pipelines.compress.trial import WEIGHTS
from pipelines.inference.class_predictor import TextOrPair
from pipelines.inference.predictors import load_predictor
from tests.unit.pipelines.inference.test_every_predictor import saved

pytestmark = pytest.mark.timeout(120)

HALF = ["bfloat16"] if pays_here() else []
"""What jobs.compress makes of it on this machine."""


def test_it_is_half_as_large_and_computes_in_sixteen_bits(tmp_path: Path) -> None:
    folder = saved("sequence-classification", tmp_path)
    halve(folder, tmp_path / "half")
    sizes = [
        sum(path.stat().st_size for name in WEIGHTS for path in at.glob(name)) for at in (folder, tmp_path / "half")
    ]
    assert 0.45 < sizes[1] / sizes[0] < 0.6
    whole, half = load_predictor(folder, threads=1), load_predictor(tmp_path / "half", threads=1)
    assert {p.dtype for p in half.network.parameters()} == {torch.bfloat16}
    inputs = [TextOrPair("Ann left", "Oslo"), TextOrPair("it rains in Rome " * 9)]
    for one, other in zip(map(asdict, whole.predict(inputs)), map(asdict, half.predict(inputs)), strict=True):
        assert other["scores"] == pytest.approx(one["scores"], abs=0.02)
        assert other["scores"] != one["scores"]
