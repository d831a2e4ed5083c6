"""What counts as a difference, by literals."""

from __future__ import annotations

import io
import json
import math

import pytest
import torch
from rich.console import Console
from torch import Tensor, tensor

from pipelines.check.compare import (
    BOUNDS,
    Bounds,
    Difference,
    Report,
    Results,
    StageFacts,
    compare,
    difference,
    without_noise,
)
from pipelines.check.load import TASKS, guess_task, silence
from pipelines.check.show import show
from pipelines.errors import UserError
from pipelines.model.examples import HEADS
from pipelines.train.device import Peak, Peaks

LOOSE = Bounds(bound=0.1, floor=0.5, noise=1e-6)


def test_a_difference_is_relative_to_the_largest_value_of_its_tensor() -> None:
    found = difference(
        "x", {"a": tensor([1.0, 3.0]), "b": tensor([8.0])}, {"a": tensor([1.0, 4.0]), "b": tensor([8.0])}, LOOSE
    )
    assert found == Difference("x", 0.25, "a", 0.1, "a")
    assert not found.ok


def test_a_tensor_is_not_taken_to_be_smaller_than_the_floor() -> None:
    found = difference("x", {"a": tensor([0.2]), "b": tensor([10.0])}, {"a": tensor([0.1]), "b": tensor([10.0])}, LOOSE)
    assert found.largest == pytest.approx(0.1 / 5)
    assert found.ok


def test_the_first_difference_beyond_the_bound_is_named_beside_the_largest() -> None:
    plain = {"a": tensor([1.0]), "b": tensor([1.0]), "c": tensor([1.0])}
    found = difference("x", {"a": tensor([1.05]), "b": tensor([1.2]), "c": tensor([1.5])}, plain, LOOSE)
    assert (found.first, found.where) == ("b", "c")


@pytest.mark.parametrize(
    ("cut", "plain", "largest"),
    [
        ({}, {"a": tensor([1.0])}, math.inf),
        ({"a": tensor([1.0])}, {}, math.inf),
        ({}, {"a": tensor([0.0])}, 0.0),
        ({"a": tensor([0.0])}, {}, 0.0),
        ({"a": tensor([math.nan])}, {"a": tensor([1.0])}, math.inf),
        ({"a": tensor([1.0, 1.0])}, {"a": tensor([1.0])}, math.inf),
        ({"a": tensor([0.0])}, {"a": tensor([0.0])}, 0.0),
        ({"a": tensor([1.0])}, {"a": tensor([0.0])}, math.inf),
        ({"a": torch.empty(0)}, {"a": torch.empty(0)}, 0.0),
    ],
)
def test_what_is_missing_or_not_a_number_differs_unless_it_is_nothing(
    cut: dict[str, Tensor], plain: dict[str, Tensor], largest: float
) -> None:
    assert difference("x", cut, plain, LOOSE).largest == largest


def test_weights_whose_gradient_is_rounding_are_left_out_and_counted() -> None:
    weights = {"a": tensor([1.0, 2.0]), "b": tensor([3.0])}
    kept, count = without_noise(weights, {"a": tensor([1e-9, 1e-3])}, 1e-6)
    assert count == 1
    assert kept["a"].tolist() == [0.0, 2.0]
    assert kept["b"].tolist() == [3.0]


def results(**changes: object) -> Results:
    return Results(
        **{
            "logits": {"row 0": tensor([1.0])},
            "losses": [2.0, 1.5],
            "gradients": {"w": tensor([1.0])},
            "weights": {"w": tensor([4.0])},
        }
        | changes
    )


@pytest.mark.parametrize(
    ("changes", "what", "first"),
    [
        ({"logits": {"row 0": tensor([1.1])}}, "logits", "row 0"),
        ({"losses": [2.0, 1.6]}, "loss", "pass 1"),
        ({"gradients": {"w": tensor([1.1])}}, "gradients", "w"),
        ({"weights": {"w": tensor([4.1])}}, "updated weights", "w"),
    ],
)
def test_every_kind_of_difference_is_found_by_itself(changes: dict[str, object], what: str, first: str) -> None:
    found, _ = compare(results(**changes), results(), {}, BOUNDS["float64"])
    assert [(entry.what, entry.first) for entry in found if not entry.ok] == [(what, first)]


MEMORY = Peaks(
    start=Peak(400_000_000, None, False), load=Peak(410_000_000, 9_900_000, False), train=Peak(500_000_000, None, False)
)


def report(**changes: object) -> Report:
    facts = {
        "model": "folder", "model_class": "M", "task": "causal-lm", "dtype": "float64", "steps": 1,
        "num_micro_batches": 4, "silenced": ("dropout",), "adapter": None, "num_trained": 1234,
        "wider_for_float32": False, "losses": (2.0, 1.5), "num_weights": 1234, "weights_left_out": 3,
        "stages": (StageFacts(0, "embeddings", "head", 3, 1234, 9872, MEMORY, "CPU, 1 thread"),),
        "differences": (
            Difference("logits", 0.0, "row 0", 1e-10, None), Difference("gradients", math.inf, "w", 1e-10, "w"),
        ),
    }  # fmt: skip
    return Report(**facts | changes)


def test_the_report_names_what_differs_first_and_is_json_even_where_something_is_missing() -> None:
    assert report().first == "gradients of w"
    tree = json.loads(json.dumps(report().to_json(), allow_nan=False))
    assert tree["equal"] is False
    assert tree["differences"][1] == {
        "what": "gradients", "largest": None, "where": "w", "bound": 1e-10, "first": "w", "ok": False
    }  # fmt: skip
    assert tree["stages"][0]["num_bytes"] == 9872
    assert tree["stages"][0]["memory"]["load"] == {"host": 410_000_000, "device": 9_900_000, "since_start": False}


def test_the_tables_say_what_each_stage_holds_and_what_differs() -> None:
    console = Console(file=io.StringIO(), width=120)
    show(report(wider_for_float32=True), console)
    lines = [" ".join(line.replace("│", " ").split()) for line in console.file.getvalue().splitlines()]
    assert "folder: M, task causal-lm, weights in float64" in lines
    assert "0 embeddings head 3 1,234 9,872" in lines
    assert "0 400.0 0.0 410.0 + GPU 9.9 500.0 CPU, 1 thread" in lines
    assert "logits 0.0e+00 row 0 1e-10 ok" in lines
    assert "gradients missing or not a number w 1e-10 DIFFERS" in lines
    told = " ".join(lines)
    assert "it was not in dropout." in told
    assert "computes in float32 inside" in told
    assert "3 of 1,234 weights were not compared" in told


def test_tasks_are_those_that_examples_can_be_made_for() -> None:
    assert set(TASKS) == set(HEADS)


@pytest.mark.parametrize(
    ("architecture", "task"),
    [
        ("BertForTokenClassification", "token-classification"),
        ("GPT2LMHeadModel", "causal-lm"),
        ("T5ForConditionalGeneration", "seq2seq-lm"),
        ("BartForConditionalGeneration", "seq2seq-lm"),
        ("BertForMaskedLM", "masked-lm"),
        ("ViTForImageClassification", "image-classification"),
        ("EncoderDecoderModel", "seq2seq-lm"),
    ],
)
def test_the_task_is_guessed_from_the_architecture(architecture: str, task: str) -> None:
    assert guess_task([architecture]) == task


@pytest.mark.parametrize("architectures", [[], ["BertModel"]])
def test_a_task_that_cannot_be_guessed_is_asked_for(architectures: list[str]) -> None:
    with pytest.raises(UserError, match=r"--task and one of token-classification, .*audio-classification"):
        guess_task(architectures)


def test_all_randomness_of_a_configuration_and_those_inside_it_is_switched_off() -> None:
    from transformers import BertConfig, EncoderDecoderConfig, Wav2Vec2Config

    config = EncoderDecoderConfig.from_encoder_decoder_configs(BertConfig(), BertConfig(hidden_dropout_prob=0.3))
    assert "decoder.hidden_dropout_prob" in silence(config)
    assert config.decoder.hidden_dropout_prob == config.encoder.attention_probs_dropout_prob == 0
    assert config.decoder.use_cache is False
    sound = Wav2Vec2Config()
    changed = silence(sound)
    assert {"layerdrop", "mask_time_prob", "apply_spec_augment"} <= set(changed)
    assert sound.layerdrop == sound.mask_time_prob == 0
    assert silence(sound) == ()
