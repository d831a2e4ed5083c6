from __future__ import annotations

import pytest
from torch import nn
from transformers import BartConfig, BartForCausalLM

from pipelines.errors import UserError
from pipelines.model.refuse import refuse_dropped_blocks, refuse_running_statistics
from tests.unit.pipelines.one_process import tiny


def test_a_model_with_running_statistics_is_refused() -> None:
    with pytest.raises(UserError, match=r"Sequential cannot be trained yet: 1 \(one of 1\) keeps running statistics"):
        refuse_running_statistics(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)))
    refuse_running_statistics(nn.Sequential(nn.BatchNorm1d(2, track_running_stats=False)))
    refuse_running_statistics(tiny("bert"))


def test_a_model_that_leaves_blocks_out_at_random_is_not_cut() -> None:
    config = BartConfig(
        d_model=16,
        decoder_layers=2,
        decoder_attention_heads=2,
        decoder_ffn_dim=16,
        vocab_size=20,
        decoder_layerdrop=0.1,
    )
    with pytest.raises(UserError, match=r"leaves whole blocks out at random. Set decoder_layerdrop \(0.1\) to 0"):
        refuse_dropped_blocks(BartForCausalLM(config))
    refuse_dropped_blocks(tiny("bert"))
