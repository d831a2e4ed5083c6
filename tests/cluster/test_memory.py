"""The memory of real stages: each has its own share of a model, and never more, not even for a moment."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from cluster.checking import prepare, run_cut, stage_facts
from pipelines.check.compare import StageFacts
from pipelines.train.pieces import PIECE

pytestmark = [pytest.mark.timeout(280), pytest.mark.usefixtures("ray_session")]


def measured(folder: Path, *, width: int, layers: int) -> tuple[StageFacts, ...]:
    import transformers

    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        hidden_size=width, intermediate_size=width * 11 // 4, num_hidden_layers=layers, num_attention_heads=16,
        vocab_size=99, max_position_embeddings=64,
    )  # fmt: skip
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    trial = prepare(str(folder), task=None, stages=2, dtype="float32", steps=1)
    return stage_facts(trial, run_cut(trial))


def test_a_stage_needs_its_share_of_the_model_and_a_constant_while_it_loads_and_trains(tmp_path: Path) -> None:
    # What a stage takes that holds next to nothing: Python, torch, transformers, Ray, kernels.
    bare = measured(tmp_path / "small", width=64, layers=6)
    if bare[0].memory.train.since_start:
        pytest.skip("this system does not let the count of a process's peak begin anew")
    stages = measured(tmp_path / "large", width=1024, layers=6)
    whole = sum(stage.num_bytes for stage in stages)
    assert whole > 290 * 2**20
    for stage in stages:
        share = stage.num_bytes
        assert share < 0.55 * whole
        allowed = 1.15 * share + 2 * PIECE
        # The whole model, or its share twice, would be too much.
        assert allowed < 0.8 * min(whole, 2 * share)
        loading = stage.memory.load.host - max(other.memory.load.host for other in bare)
        assert loading < allowed
        # Weights, gradients, and the two moments of AdamW.
        training = stage.memory.train.host - max(other.memory.train.host for other in bare)
        assert training < 4 * 1.15 * share + 2 * PIECE
