"""Copies of tensors as Ray's store keeps them."""

from __future__ import annotations

import pytest
import torch

from cluster.copies import Copy, Kept, Salvaged, weights_of
from cluster.keepers import KeeperShell

TENSORS = [
    torch.arange(6.0).reshape(2, 3),
    torch.arange(6.0, dtype=torch.float64).reshape(2, 3).T,
    torch.tensor(3.5),
    torch.ones(2, 2, dtype=torch.bfloat16),
    torch.arange(4, dtype=torch.int64),
    torch.empty(0, 5),
]


@pytest.mark.parametrize("tensor", TENSORS, ids=lambda tensor: f"{tensor.dtype} {tuple(tensor.shape)}")
def test_a_tensor_comes_back_bitwise_in_memory_of_its_own(tensor: torch.Tensor) -> None:
    kept = Kept.of(tensor)
    kept.data.flags.writeable = False  # as Ray gives it back
    back = kept.tensor()
    assert back.dtype == tensor.dtype
    assert torch.equal(back, tensor)
    if back.numel():
        back.zero_()
        assert torch.equal(kept.tensor(), tensor)


def test_a_copy_that_does_not_share_memory_stays_as_it_was() -> None:
    weight = torch.ones(2)
    shared, own = Copy.of([("w", weight)], []), Copy.of([("w", weight)], [], shares=False)
    weight.zero_()
    assert dict(shared.named_weights())["w"].tolist() == [0, 0]
    assert dict(own.named_weights())["w"].tolist() == [1, 1]


def test_pieces_of_several_servers_and_whole_weights_of_stages_become_whole_weights() -> None:
    first = Copy.of([("a[0:2]", torch.tensor([1.0, 2.0])), ("b[0:1]", torch.tensor([5.0]))], [])
    second = Copy.of([("b[1:3]", torch.tensor([6.0, 7.0])), ("c", torch.tensor([8.0]))], [])
    assert {name: value.tolist() for name, value in weights_of([first, second])} == {
        "a": [1, 2], "b": [5, 6, 7], "c": [8],
    }  # fmt: skip


def test_what_was_salvaged_is_read_by_name_as_a_checkpoint_is() -> None:
    scale = (".loss_scale/scale", torch.tensor(8.0))
    first = Copy.of(
        [("a", torch.tensor([1.0])), ("b[0:1]", torch.tensor([2.0]))],
        [scale, ("a/exp_avg", torch.tensor([0.1])), ("b[0:1]/exp_avg", torch.tensor([0.25]))],
    )
    second = Copy.of([("b[1:2]", torch.tensor([3.0]))], [("b[1:2]/exp_avg", torch.tensor([0.5]))])
    salvaged = Salvaged(7, [first, second])
    assert {name: value.tolist() for name, value in salvaged.weights(["b", "c"])} == {"b": [2, 3]}
    moments = {key: value.tolist() for key, value in salvaged.moments(["b"])}
    assert moments == {".loss_scale/scale": 8.0, "b/exp_avg": [0.25, 0.5]}


def test_a_keeper_holds_the_two_versions_that_came_last_also_when_a_run_went_back() -> None:
    keeper, copy = KeeperShell(), Copy({}, {})
    for version in (0, 10, 20, 10):
        keeper.keep(version, copy)
    assert list(keeper._kept) == [20, 10]
    keeper.keep(30, copy)
    assert list(keeper._kept) == [10, 30]
