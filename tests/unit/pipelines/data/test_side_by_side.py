"""Short texts that share rows: which go together, and how they come to lie in the tensors."""

import pytest

from pipelines.data.batches import MicroBatch, epoch_steps, padding_waste, split
from pipelines.data.examples import Encoded, ints
from pipelines.data.order import Order, Where
from pipelines.data.pack import merge, pack
from pipelines.data.side_by_side import first_fit_decreasing, side_by_side

LENGTHS = [(7 * n) % 23 + 3 for n in range(331)]
PADDING = {"input_ids": 9, "attention_mask": 0, "labels": -100}


def row(*ids: int) -> Encoded:
    columns = {"input_ids": list(ids), "attention_mask": [1] * len(ids), "labels": [-100, *ids[1:]]}
    return Encoded({name: ints(column) for name, column in columns.items()}, len(ids), len(ids) - 1)


def steps(packing: int | None, epoch: int = 0):
    options = {"batch_size": 16, "accumulate": 1, "micro_batches": 4, "token_budget": 256, "seed": 0}
    return epoch_steps(LENGTHS, epoch=epoch, packing=packing, **options)


def test_the_longest_goes_first_into_the_first_line_with_room() -> None:
    assert first_fit_decreasing(range(6), [2, 7, 3, 5, 5, 2], 10) == [[1, 2], [3, 4], [0, 5]]


def test_lines_are_as_short_as_so_many_lines_allow() -> None:
    # 24 sub-words in two lines: twelve in each, of a hundred that there would be room for.
    assert side_by_side(range(6), [2, 7, 3, 5, 5, 2], num_lines=2, most=100) == [[1, 3], [4, 2, 0, 5]]


def test_there_are_twice_as_many_lines_where_texts_do_not_fit_into_fewer() -> None:
    assert side_by_side(range(4), [8, 8, 8, 2], num_lines=2, most=10) == [[0], [1], [2], [3]]
    assert side_by_side(range(8), [4] * 8, num_lines=2, most=9) == [[0, 1], [2, 3], [4, 5], [6, 7]]


def test_a_batch_is_split_into_rows_that_are_about_equally_full() -> None:
    assert split([0, 1, 2, 3, 4, 5], [2, 7, 3, 5, 5, 2], 2, 1000, packing=100) == [
        MicroBatch((1, 3), 12, ((0, 0), (0, 7))),
        MicroBatch((4, 2, 0, 5), 12, ((0, 0), (0, 5), (0, 8), (0, 10))),
    ]


def test_a_row_is_no_longer_than_the_model_takes_and_a_micro_batch_no_larger_than_its_budget() -> None:
    pieces = split(range(6), [8] * 6, 2, 16, packing=10)
    assert [(piece.num_lines, piece.width) for piece in pieces] == [(2, 8)] * 3
    assert [piece.num_padded_tokens for piece in pieces] == [16] * 3


@pytest.mark.parametrize("epoch", [0, 1])
def test_steps_hold_the_same_examples_as_without_and_the_same_again(epoch: int) -> None:
    packed, plain = steps(64, epoch), steps(None, epoch)
    assert [sorted(step.rows) for step in packed] == [sorted(step.rows) for step in plain]
    assert packed == steps(64, epoch)


def test_rows_of_unlike_texts_have_no_padding_left() -> None:
    lengths = [3, 40, 5, 21, 9, 30, 4, 16] * 20
    options = {"batch_size": 8, "accumulate": 1, "micro_batches": 2, "token_budget": 256, "seed": 0, "epoch": 0}
    # Few batches and of all lengths: sorting helps less.
    plain, packed = (epoch_steps(lengths[:16], packing=packing, **options) for packing in (None, 128))
    assert padding_waste(plain, lengths) > 0.1
    assert padding_waste(packed, lengths) < 0.02


def test_examples_of_two_shards_share_a_row_and_positions_begin_anew() -> None:
    merged = merge([pack([row(1, 2, 3), row(4, 5)], [1, 0], [0, 1]), pack([row(6), row(7)], [0, 1], [0, 3])], PADDING)
    assert merged["input_ids"].tolist() == [[6, 4, 5, 9], [1, 2, 3, 7]]
    assert merged["position_ids"].tolist() == [[0, 0, 1, 0], [0, 1, 2, 0]]
    assert merged["labels"].tolist() == [[-100, -100, 5, -100], [-100, 2, 3, -100]]
    assert "attention_mask" not in merged


def test_a_gap_in_a_row_is_an_error() -> None:
    with pytest.raises(ValueError, match="row 0 of a micro-batch has an example at 3, and one that ends elsewhere"):
        merge([pack([row(1, 2), row(3)], [0, 0], [0, 3])], PADDING)
    with pytest.raises(ValueError, match=r"came for the places \[1\]"):
        merge([pack([row(1, 2)], [1], [0])], PADDING)


def test_each_shard_learns_where_its_examples_begin() -> None:
    dealt = Order([[1, 1], [1, 1]]).deal([MicroBatch((3, 0), 9, ((0, 0), (0, 5)))])
    assert dealt == [[[Where(0, 0, 5)]], [[Where(0, 1, 0)]]]
