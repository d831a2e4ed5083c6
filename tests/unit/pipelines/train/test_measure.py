"""Measuring a small model here and now: what cannot be known in advance is positive and adds up."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
import torch
from torch import nn

from pipelines.config import TrainConfig
from pipelines.model.examples import example_batches
from pipelines.model.freeze import freeze, trained
from pipelines.model.load import config_of
from pipelines.model.units import Units, find_units
from pipelines.plan.measured import Shape
from pipelines.tasks import make_task
from pipelines.train.device import Device
from pipelines.train.measure import Bench, Found
from pipelines.train.rehearse import rehearse
from pipelines.train.subject import Subject, sized
from tests.unit.pipelines.one_process import CPU

SHAPE = Shape(4, 16)


def bert() -> nn.Module:
    from transformers import BertConfig, BertForTokenClassification

    torch.manual_seed(0)
    return BertForTokenClassification(
        BertConfig(
            vocab_size=50, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
            max_position_embeddings=64, num_labels=3,
        )
    )  # fmt: skip


def subject(model: nn.Module, **train: object) -> Subject:
    units: Units = find_units(model, {"input_ids": torch.tensor([[5, 6, 7]])})
    return Subject(
        units=units,
        head=make_task("token-classification"),
        model_class="BertForTokenClassification",
        model_config=config_of(model),
        dtype="float32",
        train=TrainConfig.model_validate(train),
        trained=frozenset(trained(model)),
        shapes={name: tuple(parameter.shape) for name, parameter in model.named_parameters()},
    )


def measure(given: Subject, device: Device = CPU, shape: Shape = SHAPE, memory: int = 2**30) -> tuple[Found, int]:
    example = example_batches(bert(), "token-classification", count=1)[0]
    bench = Bench(given, device, example, [shape], memory=memory, rounds=1)
    parts, running = 0, bench.run()
    while True:
        try:
            next(running)
            parts += 1
        except StopIteration as end:
            assert parts == bench.num_parts
            return end.value, parts


def test_every_unit_of_a_model_that_is_trained_takes_time_and_memory() -> None:
    given = subject(bert())
    found, parts = measure(given)
    (times,) = found.times
    assert parts == 3  # the embeddings, every other unit, and these together
    units = len(given.units)
    assert units == 6  # embeddings, two halves of each of two blocks, head
    assert all(len(part) == units for part in (times.forward, times.backward, times.weights, times.kept, times.noted))
    assert min(*times.forward, *times.backward, times.stage_forward, times.stage_backward) >= 0
    assert min(sum(times.forward), sum(times.backward), sum(times.weights), min(found.update)) > 0
    # Blocks are alike, so they share what was measured.
    assert len(set(times.forward)) == 4
    # Hidden states of 32 float32 values for each of the 4 x 16 sub-words, and their gradients.
    assert times.crossing == ((8192, 8192),) * 5
    assert min(times.kept) > 0
    # Three products read one input of 8192 bytes, and each has a gradient of its own; the fourth has both.
    assert times.noted[1] == 6 * 8192
    # Weights, gradients and AdamW's two moments; the head is 32 x 3 weights and 3 biases.
    assert found.held[-1] == pytest.approx(99 * 4 * 4, abs=16)


def test_units_that_nothing_is_trained_in_or_before_send_nothing_back() -> None:
    model = bert()
    freeze(model, ["bert.embeddings.*", "bert.encoder.layer.0.*"])
    found, _ = measure(subject(model))
    (times,) = found.times
    assert [back for _, back in times.crossing] == [0] * 3 + [8192] * 2
    assert times.kept[:3] == times.noted[:3] == (0,) * 3
    assert min(times.kept[3:]) > 0
    size = sum(parameter.numel() for parameter in model.bert.embeddings.parameters())  # type: ignore[operator, union-attr]
    assert found.held[0] == size * 4


def test_a_model_that_does_not_fit_at_once_is_measured_in_groups() -> None:
    given = subject(bert())
    sizes = [given.likely_bytes(n) for n in range(len(given.units))]
    found, parts = measure(given, memory=int(sum(sizes) / 0.6 / 2.5))
    assert parts == 6  # four groups; two of them have several units, which are measured together too
    times = found.times[0]
    # A unit may take no more than what a pass costs in any case; all together take more.
    assert min(times.forward) >= 0
    assert sum(times.forward[1:]) > 0


def test_a_slowed_device_rests_in_proportion_to_what_it_worked_and_not_to_what_it_waited() -> None:
    device = replace(CPU, slowdown=4.0)
    start, begun = device.now(), time.perf_counter()
    while time.thread_time() - start.worked < 0.02:
        pass
    device.wait(since=start)
    assert time.perf_counter() - begun >= 0.08 * 0.99
    assert str(device) == "CPU, 1 thread, slowed 4x"


def test_the_fingerprint_tells_models_apart_and_not_their_weights() -> None:
    one, frozen = bert(), bert()
    nn.init.ones_(one.classifier.weight)  # type: ignore[union-attr, arg-type]
    freeze(frozen, ["bert.embeddings.*"])
    same = subject(bert()).fingerprint()
    assert subject(one).fingerprint() == same
    others = [subject(frozen), subject(bert(), optimizer="sgd"), subject(bert()).in_precision("bfloat16")]
    assert len({same, *(other.fingerprint() for other in others)}) == 4


def test_a_micro_batch_of_any_shape_is_made_of_another() -> None:
    example = {"input_ids": torch.tensor([[1, 2, 3], [4, 5, 6]]), "labels": torch.tensor([[7, 8, 9], [1, 1, 1]])}
    made = sized(example, Shape(3, 4))
    assert made["input_ids"].tolist() == [[1, 2, 3, 1], [4, 5, 6, 4], [1, 2, 3, 1]]
    assert made["labels"].shape == (3, 4)
    assert sized(example, Shape(1, 2))["input_ids"].tolist() == [[1, 2]]


def test_whole_steps_are_rehearsed_and_all_of_their_micro_batches_counted() -> None:
    example = example_batches(bert(), "token-classification", count=1)[0]
    steps = [[Shape(4, 16), Shape(2, 8)], [Shape(4, 16)]]
    # Where there is no time for more than one, it counts; else those behind it do, round and round.
    (step,) = rehearse(subject(bert()), CPU, example, steps, patience=0.0)
    assert step.shapes == tuple(steps[0])
    assert len(step.forward) == len(step.backward) == len(step.weights) == 2
    assert all(0 < seconds < 10 for seconds in (*step.forward, *step.backward, *step.weights))
    ran = rehearse(subject(bert()), CPU, example, steps, patience=0.3)
    assert [step.shapes for step in ran[:2]] == [(Shape(4, 16),), (Shape(4, 16), Shape(2, 8))]


def test_the_longest_example_is_source_and_target_together() -> None:
    example = {
        name: torch.ones(2, width, dtype=torch.long) for name, width in (("input_ids", 6), ("decoder_input_ids", 2))
    }
    made = sized(example, Shape(4, 16))
    assert {name: tuple(column.shape) for name, column in made.items()} == {
        "input_ids": (4, 12), "decoder_input_ids": (4, 4),
    }  # fmt: skip


def test_what_is_said_of_a_row_keeps_its_form() -> None:
    example = {
        "input_ids": torch.tensor([[1, 2, 3, 4]]),
        "labels": torch.tensor([[1, 3]]),
    }
    made = sized(example, Shape(2, 2))
    assert made["input_ids"].tolist() == [[1, 2], [1, 2]]
    # Places in the input: they must be there.
    assert made["labels"].tolist() == [[1, 1], [1, 1]]
    several = {"input_ids": torch.tensor([[1, 2, 3]]), "labels": torch.tensor([[0.0, 1.0, 1.0]])}
    assert sized(several, Shape(1, 6))["labels"].tolist() == [[0, 1, 1]]
    pairs = {"input_ids": torch.ones(1, 3, 2, dtype=torch.long), "labels": torch.tensor([[0]])}
    assert sized(pairs, Shape(1, 6))["input_ids"].shape == (1, 6, 2)
