import pytest
import torch

from pipelines.data.examples import Encoded, floats, ints
from pipelines.data.pack import merge, pack

PADDING = {"input_ids": 9, "attention_mask": 0, "labels": -100}


def row(*ids: int) -> Encoded:
    columns = {"input_ids": list(ids), "attention_mask": [1] * len(ids), "labels": [-100, *ids[1:]]}
    return Encoded({name: ints(column) for name, column in columns.items()}, len(ids), len(ids) - 1)


def test_the_parts_of_two_shards_make_one_padded_micro_batch() -> None:
    merged = merge([pack([row(1, 2, 3), row(4, 5)], [2, 0]), pack([row(6)], [1])], PADDING)
    assert merged["input_ids"].tolist() == [[4, 5, 9], [6, 9, 9], [1, 2, 3]]
    assert merged["attention_mask"].tolist() == [[1, 1, 0], [1, 0, 0], [1, 1, 1]]
    assert merged["labels"].tolist() == [[-100, 5, -100], [-100, -100, -100], [-100, 2, 3]]
    assert merged["labels"].dtype == torch.int64


def test_a_shard_without_rows_adds_nothing() -> None:
    merged = merge([pack([], []), pack([row(1, 2)], [0])], PADDING)
    assert merged["input_ids"].tolist() == [[1, 2]]


def test_a_missing_row_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"came for the places \[0, 2\]"):
        merge([pack([row(1)], [0]), pack([row(2)], [2])], PADDING)


def test_each_column_is_padded_to_its_own_longest_and_keeps_its_kind() -> None:
    rows = [
        Encoded({"input_ids": ints([1, 2]), "labels": floats([0.5]), "pixels": floats([[1, 2], [3, 4]])}, 2, 1),
        Encoded({"input_ids": ints([3]), "labels": floats([1.5]), "pixels": floats([[5, 6], [7, 8]])}, 1, 1),
    ]
    merged = merge([pack(rows, [1, 0])], {"input_ids": 9, "labels": 0, "pixels": 0})
    assert merged["input_ids"].tolist() == [[3, 9], [1, 2]]
    assert merged["labels"].tolist() == [[1.5], [0.5]]
    assert merged["labels"].dtype == torch.float32
    assert merged["pixels"].tolist() == [[[5, 6], [7, 8]], [[1, 2], [3, 4]]]
