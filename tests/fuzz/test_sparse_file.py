"""Weights without their zeros, in files to which something happened."""

from __future__ import annotations

import torch
from hypothesis import given

from pipelines.model.sparse_file import SPARSE_FILE, read_sparse_file, write_sparse_file
from tests.fuzz.damage import Damage, damaged, damages
from tests.fuzz.trial import Trial, fuzzed, lay

MATRIX = torch.tensor([[0.0, 0, 7, 0], [0, 2, 3, 0], [0, 0, 0, 1]])


@fuzzed
@given(damages(2))
def test_sparse_weights_are_read_or_refused_in_words(trial: Trial, done: list[Damage]) -> None:
    good = trial.place / "good"
    if not good.exists():
        write_sparse_file(good, {"b": torch.arange(3)}, {"a": MATRIX})
    lay(trial.given, {SPARSE_FILE: damaged(good.read_bytes(), done)})
    found = trial.read("sparse weights", lambda: read_sparse_file(trial.given / SPARSE_FILE))
    if isinstance(found, dict):
        assert all(isinstance(tensor, torch.Tensor) for tensor in found.values())
