"""However a step is split into micro-batches, its gradients are those of the whole batch at once."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipelines.check.compare import BOUNDS, MIXED, difference
from pipelines.config import TrainConfig
from pipelines.errors import UserError
from pipelines.model.examples import num_targets
from pipelines.model.units import find_units
from pipelines.tasks.cross_entropy import CrossEntropy
from pipelines.tasks.head import Head
from pipelines.tasks.own_loss import OwnLoss
from pipelines.tasks.token_classification import TokenClassification
from tests.unit.pipelines.heads import HEADS, LABELS, rows, small_model, split, together
from tests.unit.pipelines.one_process import OneProcess

Result = tuple[float, dict[str, Tensor]]


def in_two_stages(model: nn.Module, head: Head, batches: list[dict[str, Tensor]], target_weight: float) -> Result:
    units = find_units(model, batches[0])
    run = OneProcess(
        model, cut=[len(units) // 2], train=TrainConfig(), dtype="float64", head=head, units=units
    )  # copies the weights
    loss = run.step(0, batches, num_targets=target_weight, update=False)
    return loss, {name: gradient for stage in run.stages for name, gradient in stage.named_gradients()}


def at_once(model: nn.Module, loss: Tensor) -> Result:
    loss.backward()
    return loss.item(), {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("k", [1, 2, 4, 8])
@pytest.mark.parametrize(("head", "model_type"), HEADS)
def test_a_loss_that_the_model_computes_inside_is_that_of_the_whole_batch(head: str, model_type: str, k: int) -> None:
    model, some = small_model(head, model_type), rows(head)
    batches = split(some, k)
    total = sum(num_targets(batch, head) for batch in batches)
    loss, gradients = in_two_stages(model, OwnLoss(head), batches, total)
    true_loss, true_gradients = at_once(model, model(**together(some)).loss)
    # Llama's loss is computed in float32 whatever the model's own precision is.
    bounds = MIXED if model_type == "llama" else BOUNDS["float64"]
    assert loss == pytest.approx(true_loss, rel=1e-6 if model_type == "llama" else 1e-10)
    found = difference("gradients", gradients, true_gradients, bounds)
    assert found.ok, found


@pytest.mark.parametrize("k", [1, 2, 4, 8])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weights", [None, (0.3, 2.0, 0.7)])
def test_smoothed_and_weighted_losses_are_one_call_of_torch_over_all_targets(
    weights: tuple[float, ...] | None, label_smoothing: float, k: int
) -> None:
    model, some = small_model("token-classification", "bert"), rows("token-classification")
    whole = together(some)
    targets = whole["labels"].flatten()
    by_class = torch.tensor(weights or [1.0] * LABELS, dtype=torch.float64)
    task = TokenClassification(CrossEntropy(label_smoothing, weights))
    total = by_class[targets[targets >= 0]].sum().item()
    loss, gradients = in_two_stages(model, task, split(some, k), total)
    logits = model(**task.inputs(whole)).logits.flatten(0, 1)
    truth = F.cross_entropy(logits, targets, weight=by_class, label_smoothing=label_smoothing)
    true_loss, true_gradients = at_once(model, truth)
    assert loss == pytest.approx(true_loss, rel=1e-10)
    found = difference("gradients", gradients, true_gradients, BOUNDS["float64"])
    assert found.ok, found


def test_the_micro_batches_of_these_tests_have_unequal_numbers_of_targets() -> None:
    for head in ("token-classification", "causal-lm", "masked-lm", "seq2seq-lm"):
        counts = [num_targets(batch, head) for batch in split(rows(head), 8)]
        assert max(counts) > 2 * min(counts), (head, counts)


def test_answers_behind_the_text_are_no_targets() -> None:
    some = [dict(row) for row in rows("question-answering")]
    for row in some[1:4]:
        row |= {"start_positions": 400, "end_positions": 410}
    model, batches = small_model("question-answering", "bert"), split(some, 4)
    assert [num_targets(batch, "question-answering") for batch in batches] == [1, 4, 4, 4]
    loss, gradients = in_two_stages(model, OwnLoss("question-answering"), batches, 13)
    true_loss, true_gradients = at_once(model, model(**together(some)).loss)
    assert loss == pytest.approx(true_loss, rel=1e-10)
    assert difference("gradients", gradients, true_gradients, BOUNDS["float64"]).ok


def test_an_answer_of_which_only_the_end_lies_behind_the_text_is_refused() -> None:
    batch = together([dict(row) | {"end_positions": 400} for row in rows("question-answering", count=2)])
    with pytest.raises(UserError, match=r"2 answers of a micro-batch .* Put both positions"):
        num_targets(batch, "question-answering")
