"""Peaks are what they say, and a stage takes no memory for what it does not hold."""

from __future__ import annotations

import json
import mmap
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pipelines.config import TrainConfig
from pipelines.train.device import Device
from tests.unit.pipelines.one_process import OneProcess, micro_batches, tiny

ROOT = Path(__file__).parents[4]
MB = 2**20
CPU = Device(torch.device("cpu"), threads=1)

# A process of its own: what other tests left behind could hide an allocation.
LAID_OUT = """
import json, torch
from transformers import BertConfig, BertForTokenClassification
from pipelines.model.load import lay_out, put, skeleton
from pipelines.train.device import Device
device = Device(torch.device("cpu"), threads=1)
sizes = dict(hidden_size=1024, intermediate_size=4096, num_attention_heads=16, vocab_size=30000)
few = BertForTokenClassification(BertConfig(num_hidden_layers=1, **sizes | {"hidden_size": 64, "vocab_size": 99}))
device.settle()
before = device.peak().host
before = device.peak().host
model = skeleton(BertConfig(num_hidden_layers=12, **sizes), model_class="BertForTokenClassification", dtype="float32")
name = "bert.encoder.layer.0.intermediate.dense.weight"
lay_out(model, {name})
laid = device.peak()
put(model, {name: torch.ones(4096, 1024)})
filled = device.peak()
print(json.dumps({
    "since_start": laid.since_start, "laid": laid.host - before, "filled": filled.host - before,
    "model": sum(p.numel() * p.element_size() for p in model.parameters()),
}))
"""


def test_a_peak_is_seen_after_it_is_over_and_does_not_count_for_the_next() -> None:
    CPU.peak()
    before = CPU.peak().host
    # Not by malloc, which stages tell to keep what is freed.
    with mmap.mmap(-1, 300 * MB) as block:
        for _ in range(300):
            block.write(bytes(MB))
    during = CPU.peak()
    assert during.device is None
    if not during.since_start:
        assert during.host >= before + 290 * MB
        assert CPU.peak().host <= during.host - 290 * MB


@pytest.mark.skipif(sys.platform != "linux", reason="the count of peaks begins anew on Linux only")
def test_a_whole_model_is_laid_out_without_its_memory() -> None:
    done = subprocess.run([sys.executable, "-c", LAID_OUT], cwd=ROOT, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["model"] > 600 * MB
    assert found["laid"] < 60 * MB
    assert found["filled"] < found["laid"] + 2 * 16 * MB + 10 * MB


@pytest.mark.parametrize("vocabulary", [60, 1100], ids=["a small table", "a table that is trained by rows"])
def test_state_that_is_given_and_taken_in_pieces_goes_on_bitwise(vocabulary: int) -> None:
    train = TrainConfig(learning_rate=1e-3, weight_decay=0.0)
    model, steps = tiny("bert"), micro_batches(4, vocabulary=vocabulary)
    model.resize_token_embeddings(vocabulary, mean_resizing=False)
    one = OneProcess(model, cut=[2], train=train)
    for number in (0, 1):
        one.step(number, steps[number])
    other = OneProcess(model, cut=[1, 3], train=train)
    for part in one.stages:
        for name, value in part.named_weights():
            for stage in other.stages:
                if name in dict(stage.parameters):
                    stage.load({name: value})
    for part in one.stages:
        for key, value in part.named_moments():
            for stage in other.stages:
                stage.restore({key: value})
    for number in (2, 3):
        assert one.step(number, steps[number]) == other.step(number, steps[number])
    first, second = one.weights(), other.weights()
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
