import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from transformers.trainer_pt_utils import LabelSmoother

from pipelines.errors import UserError
from pipelines.tasks.class_weights import ClassWeights, balanced_weights, check_class_weights, named_weights
from pipelines.tasks.cross_entropy import CrossEntropy

# Of three classes with the probabilities 1/2, 1/4, 1/4.
LOGITS = torch.log(torch.tensor([[2.0, 1.0, 1.0], [1.0, 2.0, 1.0], [3.0, 3.0, 1.0]], dtype=torch.float64))
HALF, QUARTER = math.log(2), math.log(4)


def drawn(rows: int = 6, length: int = 5, classes: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    chance = torch.Generator().manual_seed(0)
    logits = torch.randn(rows, length, classes, generator=chance, dtype=torch.float64)
    targets = torch.randint(classes, (rows, length), generator=chance)
    return logits, targets.masked_fill(torch.rand(rows, length, generator=chance) < 0.3, -100)


def test_the_loss_of_each_target_is_added_and_positions_without_one_are_left_out() -> None:
    targets = torch.tensor([0, 2, -100])
    assert CrossEntropy().sum(LOGITS, targets).item() == pytest.approx(HALF + QUARTER, rel=1e-14)


def test_a_target_counts_by_the_weight_of_its_class() -> None:
    targets = torch.tensor([0, 2, -100])
    found = CrossEntropy(weights=(3.0, 1.0, 0.5)).sum(LOGITS, targets).item()
    assert found == pytest.approx(3 * HALF + 0.5 * QUARTER, rel=1e-14)


def test_smoothing_spreads_its_share_over_all_classes_the_true_one_among_them() -> None:
    targets = torch.tensor([0, -100, -100])
    found = CrossEntropy(label_smoothing=0.3).sum(LOGITS, targets).item()
    assert found == pytest.approx(0.7 * HALF + 0.1 * (HALF + QUARTER + QUARTER), rel=1e-14)


def test_smoothing_weighs_what_it_spreads_by_the_class_it_goes_to() -> None:
    targets = torch.tensor([0, -100, -100])
    found = CrossEntropy(0.3, (3.0, 1.0, 0.5)).sum(LOGITS, targets).item()
    assert found == pytest.approx(0.7 * 3 * HALF + 0.1 * (3 * HALF + QUARTER + 0.5 * QUARTER), rel=1e-14)


@pytest.mark.parametrize("weights", [None, (0.2, 1.0, 3.0, 0.5)])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_sums_of_any_parts_over_the_weight_of_all_targets_are_one_mean_of_torch(
    weights: tuple[float, ...] | None, smoothing: float
) -> None:
    logits, targets = drawn()
    by_class = torch.tensor(weights or [1.0] * 4, dtype=torch.float64)
    loss = CrossEntropy(smoothing, weights)
    parts = [(0, 1), (1, 4), (4, 6)]
    total = math.fsum(by_class[targets[targets >= 0]].tolist())
    found = math.fsum(loss.sum(logits[a:b], targets[a:b]).item() for a, b in parts) / total
    truth = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), weight=by_class, label_smoothing=smoothing)
    assert found == pytest.approx(truth.item(), rel=1e-12)


def test_smoothing_is_that_of_the_transformers_library() -> None:
    logits, targets = drawn()
    theirs = LabelSmoother(epsilon=0.2)({"logits": logits}, targets).item()
    found = CrossEntropy(0.2).sum(logits, targets).item() / int((targets >= 0).sum())
    assert found == pytest.approx(theirs, rel=1e-6)  # theirs adds up in float32


def test_one_class_for_a_whole_row_will_do() -> None:
    found = CrossEntropy().sum(LOGITS, torch.tensor([0, 1, 2])).item()
    assert found == pytest.approx(2 * HALF + math.log(7), rel=1e-14)


def test_half_precision_is_computed_in_float32() -> None:
    logits = LOGITS.to(torch.bfloat16)
    found = CrossEntropy(0.1, (1.0, 2.0, 3.0)).sum(logits, torch.tensor([0, 1, 2]))
    assert found.dtype == torch.float32
    assert found.item() == CrossEntropy(0.1, (1.0, 2.0, 3.0)).sum(logits.float(), torch.tensor([0, 1, 2])).item()


def test_labels_that_are_not_named_weigh_one() -> None:
    assert named_weights({"B-PER": 2, "O": 0.3}, ["O", "B-PER", "I-PER"]) == (0.3, 2.0, 1.0)


def test_a_weight_for_an_unknown_label_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UserError) as caught:
        named_weights({"PER": 2, "O": 1}, ["O", "B-PER", "I-PER"])
    assert str(caught.value) == (
        "train.class_weights gives a weight to 'PER', but the labels of the training split are O, B-PER, I-PER. "
        "Correct or remove it."
    )


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    from sklearn.utils.class_weight import compute_class_weight

    theirs = compute_class_weight("balanced", classes=np.array([0, 1, 3]), y=[0] * 6 + [1] * 3 + [3])
    assert balanced_weights([6, 3, 0, 1]) == pytest.approx([theirs[0], theirs[1], 1.0, theirs[2]], rel=1e-15)
    assert balanced_weights([6, 3, 0, 1]) == pytest.approx([10 / 18, 10 / 9, 1.0, 10 / 3], rel=1e-15)


@pytest.mark.parametrize("wanted", ["balanced", {"O": 2.0}])
def test_weights_where_there_are_no_labels_are_refused(wanted: ClassWeights) -> None:
    with pytest.raises(UserError, match=r"train\.class_weights weighs labels, and examples of this task have none"):
        check_class_weights(wanted, [])
