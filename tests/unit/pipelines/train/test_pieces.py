import torch

from pipelines.train.pieces import pieces


def test_tensors_stay_whole_and_in_order_and_a_large_one_is_a_piece_of_its_own() -> None:
    sizes = {"a": 2, "b": 2, "large": 9, "c": 3, "d": 1, "e": 1}
    named = [(name, torch.zeros(size, dtype=torch.uint8)) for name, size in sizes.items()]
    assert [list(piece) for piece in pieces(named, limit=4)] == [["a", "b"], ["large"], ["c", "d"], ["e"]]
    assert list(pieces([])) == []


def test_no_tensor_is_made_before_its_piece_is_wanted() -> None:
    made = []

    def named():
        for name in "abcd":
            made.append(name)
            yield name, torch.zeros(4, dtype=torch.uint8)

    found = pieces(named(), limit=8)
    assert list(next(found)) == ["a", "b"]
    assert made == ["a", "b", "c"]
