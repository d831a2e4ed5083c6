"""Several texts in one row: nothing of the loss or of a gradient may tell."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pipelines.check.compare import BOUNDS, difference
from pipelines.config import Config, TrainConfig, from_overrides
from pipelines.data.batches import split
from pipelines.data.examples import Chat, Document, Encoded, Message
from pipelines.data.pack import merge, pack
from pipelines.errors import UserError
from pipelines.model.load import without_caches
from pipelines.model.packed import refuse_unpackable
from pipelines.model.pretrained import Pretrained
from pipelines.model.units import find_units
from pipelines.model.verify import verify
from pipelines.preflight import preflight
from pipelines.tasks import make_task
from tests.tiny_lm import write_lm
from tests.unit.pipelines.one_process import OneProcess

TASK = make_task("causal-lm")
ROWS = [
    Document("it rains in Oslo"),
    Chat(
        (Message("user", "Where?"), Message("assistant", "In Rome."), Message("user", "?"), Message("assistant", "!"))
    ),
    Document("no"),
    Document(""),
    Document("Ann met Bob, who had left Lima for Bern"),
    Document("x y z"),
]


def model_of(folder: Path, **options: str) -> torch.nn.Module:
    model = TASK.auto_class.from_pretrained(folder, dtype=torch.float64, **options).eval()
    without_caches(model)
    return model


def batches(examples: list[Encoded], padding: dict[str, float], pieces: int, packing: int | None) -> list:
    lengths = [example.length for example in examples]
    found = []
    for piece in split(range(len(examples)), lengths, pieces, 1000, packing):
        places = [(n, None) for n in range(len(piece.rows))] if piece.spots is None else piece.spots
        starts = None if piece.spots is None else [start for _, start in piece.spots]
        found.append(merge([pack([examples[n] for n in piece.rows], [p for p, _ in places], starts)], padding))
    return found


# Llama's eager attention computes its softmax in float32 whatever the weights are in.
@pytest.mark.parametrize(("family", "attention"), [("gpt2", "sdpa"), ("gpt2", "eager"), ("llama", "sdpa")])
@pytest.mark.parametrize("cut", ["whole", "cut"])
def test_packed_loss_and_gradients_are_those_of_texts_by_themselves(
    family: str, cut: str, attention: str, tmp_path: Path
) -> None:
    folder = write_lm(tmp_path / "model", family)
    processor = TASK.load_processor(str(folder))
    examples = TASK.encode(ROWS, processor, [], 64)
    padding = TASK.padding(processor)
    num_targets = sum(example.num_targets for example in examples)

    def step(packing: int | None, pieces: int) -> tuple[float, dict[str, torch.Tensor]]:
        model = model_of(folder, attn_implementation=attention)
        units = find_units(model, TASK.probe(processor))
        bounds = [len(units) // 2] if cut == "cut" else []
        run = OneProcess(model, cut=bounds, train=TrainConfig(), dtype="float64", head=TASK, units=units)
        parts = batches(examples, padding, pieces, packing)
        assert all(("position_ids" in part) == (packing is not None) for part in parts)
        loss = run.step(0, parts, num_targets=num_targets, update=False)
        return loss, {name: gradient for stage in run.stages for name, gradient in stage.named_gradients()}

    alone, true = step(None, len(examples))
    for pieces in (1, 2):
        loss, gradients = step(64, pieces)
        assert loss == pytest.approx(alone, rel=1e-10)
        assert (same := difference("gradients", gradients, true, BOUNDS["float64"])).ok, same


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_a_model_that_can_is_proved_to_with_any_cut(family: str, tmp_path: Path) -> None:
    folder = write_lm(tmp_path / "model", family)
    model, probe = model_of(folder), TASK.probe(TASK.load_processor(str(folder)))
    together = refuse_unpackable(model, probe)
    assert together["position_ids"].tolist() == [[0, 1, 2, 3, 4, 5, 0, 1, 0]]
    units = find_units(model, probe)
    verify(model, units, list(range(1, len(units))), together)


def test_a_model_that_takes_no_positions_is_refused(tmp_path: Path) -> None:
    from transformers import BloomConfig, BloomForCausalLM

    probe = TASK.probe(TASK.load_processor(str(write_lm(tmp_path / "model", "gpt2"))))
    model = BloomForCausalLM(BloomConfig(vocab_size=80, hidden_size=32, n_layer=1, n_head=2))
    with pytest.raises(UserError, match=r"BloomForCausalLM takes no position_ids\. Use data\.packing=false"):
        refuse_unpackable(model, probe)


def test_a_model_whose_texts_would_read_each_other_is_refused(tmp_path: Path) -> None:
    from transformers import OPTConfig, OPTForCausalLM

    probe = TASK.probe(TASK.load_processor(str(write_lm(tmp_path / "model", "gpt2"))))
    torch.manual_seed(0)
    model = OPTForCausalLM(
        OPTConfig(
            vocab_size=80, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, ffn_dim=64,
            word_embed_proj_dim=32, max_position_embeddings=64,
        )
    )  # fmt: skip
    without_caches(model)
    with pytest.raises(UserError, match=r"a text must not read the one before it in its row, and OPTForCausalLM does"):
        refuse_unpackable(model, probe)


@pytest.mark.parametrize("method", ["prompt-tuning", "prefix-tuning"])
def test_tokens_in_front_of_a_row_are_refused(method: str, tmp_path: Path) -> None:
    folder = write_lm(tmp_path / "model", "llama")
    config = from_overrides([f"model={folder}", f"adapter={method}", "train.task=causal-lm", "data.packing=true"])
    with pytest.raises(UserError, match=r"only the first would read the virtual tokens"):
        Pretrained(config, TASK, [])


def test_only_where_a_row_is_read_from_left_to_right_can_texts_share_it() -> None:
    with pytest.raises(UserError, match=r"data\.packing puts several texts .* which masked-lm does not take"):
        preflight(Config.model_validate({"data": {"packing": True}, "train": {"task": "masked-lm"}}))
    with pytest.raises(UserError, match=r"data\.packing needs the strategy `pipeline`"):
        preflight(
            Config.model_validate(
                {"data": {"packing": True}, "train": {"task": "causal-lm"}, "plan": {"strategy": "data"}}
            )
        )
