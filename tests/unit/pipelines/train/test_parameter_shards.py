"""Who owns which part of which parameter: literals."""

from __future__ import annotations

import pytest
import torch

from pipelines.train.parameter_shards import Piece, cut_pieces, joined, share_out

SHAPES = {"table": (10, 4), "bias": (4,), "scale": (), "matrix": (4, 4)}


def keys(owned: tuple[Piece, ...]) -> list[str]:
    return [piece.key for piece in owned]


def test_large_tensors_are_cut_into_rows_of_at_most_so_many_bytes() -> None:
    pieces = cut_pieces(SHAPES, itemsize=4, limit=64)
    assert [(piece.key, piece.shape) for piece in pieces] == [
        ("table[0:3]", (3, 4)), ("table[3:6]", (3, 4)), ("table[6:10]", (4, 4)),
        ("bias[0:4]", (4,)), ("scale[0:1]", ()), ("matrix[0:4]", (4, 4)),
    ]  # fmt: skip


def test_a_row_is_never_cut() -> None:
    assert keys(tuple(cut_pieces({"a": (2, 100)}, itemsize=8, limit=64))) == ["a[0:1]", "a[1:2]"]


def test_where_the_optimizer_needs_whole_matrices_nothing_is_cut() -> None:
    assert keys(tuple(cut_pieces(SHAPES, itemsize=4, limit=64, whole=True))) == [
        "table[0:10]", "bias[0:4]", "scale[0:1]", "matrix[0:4]",
    ]  # fmt: skip


def test_owners_get_equal_bytes_and_not_equal_numbers_of_tensors() -> None:
    pieces = cut_pieces({"table": (6, 4), "a": (4,), "b": (4,), "c": (4,), "d": (4,)}, itemsize=4, limit=32)
    assert [keys(owned) for owned in share_out(pieces, 2)] == [
        ["table[0:2]", "table[2:4]", "table[4:6]"],
        ["a[0:4]", "b[0:4]", "c[0:4]", "d[0:4]"],
    ]


def test_an_owner_of_three_times_the_capacity_gets_three_times_the_bytes() -> None:
    pieces = cut_pieces({"table": (8, 4)}, itemsize=4, limit=16)
    assert [len(owned) for owned in share_out(pieces, 2, capacity=[3, 1])] == [6, 2]


@pytest.mark.parametrize("num_owners", [1, 2, 3, 5, 8])
def test_no_owner_is_more_than_one_piece_away_from_its_share(num_owners: int) -> None:
    pieces = cut_pieces({f"p{k}": (k % 7 + 1, 3 + k % 5) for k in range(60)}, itemsize=4, limit=80)
    owners = share_out(pieces, num_owners)
    assert [piece for owned in owners for piece in owned] == pieces
    total, largest = sum(piece.size for piece in pieces), max(piece.size for piece in pieces)
    loads = [sum(piece.size for piece in owned) for owned in owners]
    assert all(abs(load - total / num_owners) <= largest for load in loads)


def test_every_owner_needs_a_capacity() -> None:
    with pytest.raises(ValueError, match="2 owners need as many positive capacities"):
        share_out([], 2, capacity=[1, 0])


def test_pieces_are_joined_to_whole_tensors_again() -> None:
    whole = torch.arange(40.0).reshape(10, 4)
    pieces = cut_pieces({"table": (10, 4), "scale": ()}, itemsize=4, limit=64)
    named = [(piece.key, piece.of(whole if piece.shape else torch.tensor(7.0))) for piece in pieces]
    found = dict(joined(named))
    assert list(found) == ["table", "scale"]
    assert torch.equal(found["table"], whole)
    assert found["scale"] == 7.0


def test_an_optimizers_state_is_joined_by_its_kind_and_counts_once() -> None:
    state = [
        ("a[0:1]/step", torch.tensor(3.0)),
        ("a[0:1]/exp_avg", torch.tensor([1.0])),
        ("a[1:2]/step", torch.tensor(3.0)),
        ("a[1:2]/exp_avg", torch.tensor([2.0])),
    ]
    assert {name: value.tolist() for name, value in joined(state)} == {"a/step": 3.0, "a/exp_avg": [1.0, 2.0]}
