"""Adversarial training: by hand, beside a plain loop, on any cut, and with everything put back."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipelines.config import TrainConfig, from_overrides
from pipelines.errors import UserError
from pipelines.model.pretrained import Pretrained
from pipelines.model.units import find_units
from pipelines.plan.schedules import SCHEDULES
from pipelines.recipe_settings import AdversarialConfig
from pipelines.tasks import make_task
from pipelines.train.adversarial import Adversary, check_adversarial, table_of
from pipelines.train.optimizers import learning_rate
from pipelines.train.resume import lasting
from tests.tiny import write_model
from tests.unit.pipelines.one_process import Batch, OneProcess, micro_batches, probe, tiny

STEPS, PLAIN_STEPS = 3, 6
EPSILON = 0.5
VOCABULARY = 1024
"""With so many sub-words a table is trained by rows."""
CUTS = {
    "bert": [[3], [2, 4, 6], [1, 2, 3, 4, 5, 6, 7]],
    "electra": [[3, 5]],
    "llama": [[2, 6]],
    "gpt2": [[1, 4]],
}


def train_config(*, adversarial: bool = True, **changes: object) -> TrainConfig:
    moved = AdversarialConfig(epsilon=EPSILON) if adversarial else None
    usual = {"learning_rate": 1e-3, "warmup": 0.2, "weight_decay": 0.01, "clip": 0.5, "adversarial": moved}
    return TrainConfig(**(usual | changes))


def trained(family: str, cut: list[int], **options: Any) -> tuple[list[float], dict[str, Tensor]]:
    train = options.pop("train", None) or train_config()
    run = OneProcess(tiny(family), cut=cut, train=train, num_steps=STEPS, **options)
    return [run.step(n, batches) for n, batches in enumerate(micro_batches(STEPS))], run.weights()


@cache
def uncut(family: str, **changes: object) -> tuple[list[float], dict[str, Tensor]]:
    return trained(family, [], train=train_config(**changes))


def different(one: dict[str, Tensor], other: dict[str, Tensor]) -> list[str]:
    assert one.keys() == other.keys()
    return [name for name in one if not torch.equal(one[name], other[name])]


# -- beside a plain loop ------------------------------------------------------------------------


def loss_of(model: nn.Module, batches: list[Batch]) -> Tensor:
    counts = [int((batch["labels"] != -100).sum()) for batch in batches]
    parts = [model(**batch).loss * count for batch, count in zip(batches, counts, strict=True) if count]
    return sum(parts) / sum(counts)


def with_a_large_table(*, dropout: float = 0.1, dtype: torch.dtype = torch.float32) -> nn.Module:
    """One that is trained by rows, where weights do not decay."""
    model = tiny("bert", dropout=dropout, dtype=dtype)
    model.resize_token_embeddings(VOCABULARY, mean_resizing=False)
    return model.train()


@cache
def in_a_plain_loop(family: str, clip: float | None) -> tuple[list[float], list[float], dict[str, Tensor]]:
    return plainly_trained(tiny(family, dropout=0.0, dtype=torch.float64), train_config(clip=clip))


def plainly_trained(
    model: nn.Module, train: TrainConfig, *, vocabulary: int = 60
) -> tuple[list[float], list[float], dict[str, Tensor]]:
    """The two losses of each step, and the weights: Hugging Face's own loss, torch's own optimizer and clipping."""
    table = model.get_input_embeddings().weight
    groups = [
        {"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": train.weight_decay},
        {"params": [p for p in model.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=0.0, betas=train.betas, eps=train.eps)
    losses, adversarial = [], []
    for n, batches in enumerate(micro_batches(PLAIN_STEPS, vocabulary=vocabulary)):
        loss = loss_of(model, batches)
        loss.backward()
        before = table.detach().clone()
        with torch.no_grad():
            table += EPSILON * table.grad / table.grad.norm()
        again = loss_of(model, batches)
        again.backward()
        with torch.no_grad():
            table.copy_(before)
        if train.clip is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), train.clip)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(n, PLAIN_STEPS, train)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        adversarial.append(again.item())
    return losses, adversarial, {name: p.detach() for name, p in model.named_parameters()}


@pytest.mark.parametrize("clip", [0.5, None])
@pytest.mark.parametrize(("family", "cut"), [("bert", []), ("bert", [2, 6]), ("electra", [3]), ("gpt2", [4])], ids=str)
def test_it_learns_what_a_plain_loop_learns_that_moves_the_table(
    family: str, cut: list[int], clip: float | None
) -> None:
    model = tiny(family, dropout=0.0, dtype=torch.float64)
    run = OneProcess(model, cut=cut, train=train_config(clip=clip), dtype="float64", num_steps=PLAIN_STEPS)
    losses, adversarial, plain = in_a_plain_loop(family, clip)
    for n, batches in enumerate(micro_batches(PLAIN_STEPS)):
        assert run.step(n, batches) == pytest.approx(losses[n], rel=1e-10)
        assert run.reports[len(cut)].adversarial_loss == pytest.approx(adversarial[n], rel=1e-10)
    weights = run.weights()
    for name, value in plain.items():
        difference = (weights[name] - value).abs().max() / value.abs().max().clamp(min=1e-30)
        assert difference.item() <= 1e-10, name


# -- on any cut ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("family", "cut"), [(family, cut) for family, cuts in CUTS.items() for cut in cuts], ids=str)
def test_every_cut_gives_bitwise_equal_losses_and_weights_with_dropout(family: str, cut: list[int]) -> None:
    losses, weights = trained(family, cut)
    plain_losses, plain = uncut(family)
    assert losses == plain_losses
    assert different(weights, plain) == []


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("stage_of", [[0, 1, 2], [0, 1, 0], [1, 0, 1]], ids=str)
def test_every_schedule_gives_bitwise_equal_weights(schedule: str, stage_of: list[int]) -> None:
    _, weights = trained("bert", [3, 4], stage_of=stage_of, schedule=schedule)
    assert different(weights, uncut("bert")[1]) == []


@pytest.mark.parametrize("changes", [{"recompute": True}, {"precision": "bfloat16"}], ids=str)
def test_other_ways_to_compute_give_bitwise_equal_weights_on_every_cut(changes: dict[str, Any]) -> None:
    (_, one), (_, other) = (trained("bert", cut, train=train_config(**changes)) for cut in ([], [1, 4]))
    assert different(one, other) == []


def test_a_table_that_is_trained_by_rows_learns_bitwise_the_same_on_every_cut() -> None:
    learnt = []
    for cut in ([], [1, 4]):
        run = OneProcess(with_a_large_table(), cut=cut, train=train_config(weight_decay=0.0), num_steps=STEPS)
        assert run.stages[0].table_names == ("bert.embeddings.word_embeddings.weight",)
        losses = [run.step(n, batches) for n, batches in enumerate(micro_batches(STEPS, vocabulary=VOCABULARY))]
        learnt.append((losses, run.weights()))
    assert learnt[0][0] == learnt[1][0]
    assert different(learnt[0][1], learnt[1][1]) == []


def test_a_table_that_is_trained_by_rows_learns_what_a_plain_loop_learns() -> None:
    model, train = with_a_large_table(dropout=0.0, dtype=torch.float64), train_config(weight_decay=0.0)
    run = OneProcess(model, cut=[3], train=train, dtype="float64", num_steps=PLAIN_STEPS)
    for n, batches in enumerate(micro_batches(PLAIN_STEPS, vocabulary=VOCABULARY)):
        run.step(n, batches)
    weights = run.weights()
    for name, value in plainly_trained(model, train, vocabulary=VOCABULARY)[2].items():
        difference = (weights[name] - value).abs().max() / value.abs().max().clamp(min=1e-30)
        assert difference.item() <= 1e-10, name


def test_the_same_run_twice_is_bitwise_the_same_and_another_than_without() -> None:
    (losses, weights), (again, once_more) = (trained("bert", [3]) for _ in range(2))
    assert (losses, different(weights, once_more)) == (again, [])
    plain_losses, plain = trained("bert", [3], train=train_config(adversarial=False))
    assert plain_losses[0] == losses[0]
    assert different(weights, plain) == list(weights)


# -- the move -----------------------------------------------------------------------------------


def test_rows_that_were_looked_up_move_by_epsilon_together_and_come_back_bitwise() -> None:
    table = nn.Parameter(torch.tensor([[1.0, 1.0], [0.1, 0.2], [5.0, 5.0]]))
    table.grad = torch.tensor([[3.0, 0.0], [0.0, 0.0], [0.0, 4.0]])
    before = table.detach().clone()
    adversary = Adversary(table, 10.0)
    adversary.move()
    assert table.tolist() == [[7.0, 1.0], pytest.approx([0.1, 0.2]), [5.0, 13.0]]
    adversary.put_back()
    assert torch.equal(table, before)
    adversary.put_back()
    assert torch.equal(table, before)
    assert table.grad.tolist() == [[3.0, 0.0], [0.0, 0.0], [0.0, 4.0]]


@pytest.mark.parametrize("gradient", [None, [[0.0, 0.0]], [[math.nan, 1.0]], [[math.inf, 1.0]]], ids=str)
def test_without_a_direction_nothing_moves(gradient: list[list[float]] | None) -> None:
    table = nn.Parameter(torch.ones(1, 2))
    table.grad = None if gradient is None else torch.tensor(gradient)
    Adversary(table, 1.0).move()
    assert table.tolist() == [[1.0, 1.0]]


def test_a_gradient_whose_inverse_is_no_float32_still_has_a_direction() -> None:
    table = nn.Parameter(torch.ones(1, 2))
    table.grad = torch.tensor([[0.0, 1e-42]])
    Adversary(table, 1.0).move()
    assert table.tolist() == [[1.0, pytest.approx(2.0)]]


def test_the_loss_rises_by_epsilon_times_the_length_of_the_gradient_since_the_masks_are_the_same() -> None:
    # Dropout is on: with masks of its own the second loss would differ by far more.
    small = AdversarialConfig(epsilon=1e-4)
    model = tiny("bert", dtype=torch.float64)
    run = OneProcess(model, cut=[3], train=train_config(adversarial=False), dtype="float64")
    (batches,) = micro_batches(1)
    run.step(0, batches, update=False)
    (length,) = (g.norm().item() for name, g in run.stages[0].named_gradients() if "word_embeddings" in name)
    run = OneProcess(model, cut=[3], train=train_config().model_copy(update={"adversarial": small}), dtype="float64")
    loss = run.step(0, batches)
    found = run.reports[1].adversarial_loss
    assert found is not None
    assert found - loss == pytest.approx(1e-4 * length, rel=1e-2)


# -- what it meets ------------------------------------------------------------------------------


def test_behind_a_step_the_table_is_bitwise_what_it_was_without_an_update() -> None:
    run = OneProcess(tiny("bert"), cut=[3], train=train_config())
    before = run.weights()
    run.step(0, micro_batches(1)[0], update=False)
    assert different(run.weights(), before) == []


def test_a_loss_scale_is_no_part_of_the_direction() -> None:
    one, other = (
        trained("bert", [3], train=train_config(precision="float32", loss_scale=scale))[1] for scale in (None, 1024.0)
    )
    assert max((one[name] - other[name]).abs().max().item() for name in one) < 1e-6


def test_a_poisoned_step_leaves_the_weights_bitwise_as_they_were_and_the_next_one_goes_on() -> None:
    model = tiny("bert")
    with torch.no_grad():
        model.bert.embeddings.word_embeddings.weight[59] = math.nan
    (bad,), (good,) = micro_batches(1, vocabulary=59), micro_batches(1, vocabulary=59, seed=2)
    bad[2]["input_ids"][-1, 0] = 59
    run = OneProcess(model, cut=[3], train=train_config(poisoned="skip"))
    before = run.weights()
    run.step(0, bad)
    assert [run.reports[j].skipped for j in (0, 1)] == [True, True]
    after = run.weights()
    assert all(torch.equal(before[name].nan_to_num(7), after[name].nan_to_num(7)) for name in before)
    run.step(1, good)
    assert run.reports[1].poison is None
    assert run.reports[1].adversarial_loss is not None


def test_what_only_the_moved_table_poisons_is_told_as_such() -> None:
    far = train_config().model_copy(update={"adversarial": AdversarialConfig(epsilon=1e39)})
    run = OneProcess(tiny("llama"), cut=[2], train=far)
    with pytest.raises(FloatingPointError, match="is sound, but with the embeddings moved something is not"):
        run.step(0, micro_batches(1)[0])


def test_a_run_is_another_with_another_epsilon_and_the_same_as_before_without() -> None:
    assert lasting(from_overrides(["train.adversarial.epsilon=2"]))["train"]["adversarial"] == {"epsilon": 2.0}
    assert "adversarial" not in lasting(from_overrides([]))["train"]


# -- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize("override", ["plan.servers=1", "plan.strategy=data"])
def test_what_it_does_not_go_together_with_is_refused(override: str) -> None:
    with pytest.raises(UserError, match=rf"does not go together with {override.removesuffix('=1')}"):
        check_adversarial(from_overrides(["train.adversarial={}", override]))


def refused(model: nn.Module, inputs: Batch, trained: set[str]) -> str:
    with pytest.raises(UserError) as said:
        table_of(model, find_units(model, inputs), trained)
    return str(said.value)


def test_a_table_that_other_layers_use_as_well_is_refused() -> None:
    import transformers

    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    model = transformers.BertForMaskedLM(transformers.BertConfig(**sizes, vocab_size=60)).train()
    said = refused(model, probe(), {name for name, _ in model.named_parameters()})
    assert "other layers use bert.embeddings.word_embeddings.weight as well" in said


def test_a_table_that_is_not_trained_is_refused() -> None:
    assert "word_embeddings.weight stays as it is in this run" in refused(tiny("bert"), probe(), {"classifier.weight"})


def test_a_run_is_refused_whose_table_stays_as_it_is_before_anything_is_cut(tmp_path: Path) -> None:
    model = write_model(tmp_path / "model", layers=1)
    config = from_overrides([f"model={model}", "train.adversarial={}", "train.freeze=['*.embeddings.*']"])
    with pytest.raises(UserError, match=r"Train it \(adapter, train\.freeze\), or leave train\.adversarial out"):
        Pretrained(config, make_task("token-classification"), ["O", "B-PER"])


def test_a_model_that_looks_up_no_sub_words_is_refused() -> None:
    import transformers

    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    model = transformers.ViTForImageClassification(transformers.ViTConfig(**sizes, image_size=32, patch_size=16))
    said = refused(model.train(), {"pixel_values": torch.randn(2, 3, 32, 32)}, set())
    assert "ViTForImageClassification looks up no sub-words" in said


def test_an_epsilon_that_there_cannot_be_is_refused() -> None:
    for wrong in ("0", "-1", ".inf"):
        with pytest.raises(UserError, match=r"train\.adversarial\.epsilon"):
            from_overrides([f"train.adversarial.epsilon={wrong}"])


def test_positions_are_not_moved_with_the_sub_words() -> None:
    model = tiny("bert")
    names = {name for name, _ in model.named_parameters()}
    assert table_of(model, find_units(model, probe()), names) == "bert.embeddings.word_embeddings.weight"
