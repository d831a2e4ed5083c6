"""A model without its zeros is smaller, and answers bitwise as it did."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from pipelines.compress.half import halve
from pipelines.compress.sparse import leave_out_zeros, saves
from pipelines.compress.trial import WEIGHTS
from pipelines.errors import UserError
from pipelines.inference.class_predictor import TextOrPair
from pipelines.inference.predictors import load_predictor
from pipelines.model.load import load_model
from pipelines.model.sparse_file import SPARSE_FILE, dense_folder, pack, read_sparse_file, write_sparse_file
from pipelines.tasks import make_task
from tests.unit.pipelines.inference.test_every_predictor import saved

MATRIX = torch.tensor([[0.0, 0, 7], [0, 2, 3]])


def thinned(folder: Path) -> Path:
    """A model of whose matrices two thirds are zero."""
    model = saved("sequence-classification", folder)
    weights = load_file(model / "model.safetensors")
    chance = torch.Generator().manual_seed(5)
    for weight in weights.values():
        if weight.ndim == 2:
            weight.masked_fill_(torch.rand(weight.shape, generator=chance) < 2 / 3, 0)
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    return model


def test_a_bit_says_where_a_value_is() -> None:
    bits, values = pack(MATRIX)
    assert (bits.dtype, bits.tolist(), values.tolist()) == (torch.uint8, [0b110100], [7, 2, 3])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (8, 8), (7, 40)], ids=str)
def test_what_is_read_is_bitwise_what_was_written(dtype: torch.dtype, shape: tuple[int, int], tmp_path: Path) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    matrix[matrix < 0.3] = 0
    matrix[0, 0] = -0.0
    matrix[-1, -1] = math.nan
    other = torch.arange(3)
    write_sparse_file(tmp_path / "it", {"b": other}, {"a": matrix, "none": torch.zeros(shape)})
    found = read_sparse_file(tmp_path / "it")
    assert found.keys() == {"a", "b", "none"}
    assert torch.equal(found["b"], other)
    assert torch.equal(found["none"], torch.zeros(shape))
    assert torch.equal(found["a"].view(torch.uint8), matrix.view(torch.uint8))


def test_a_model_without_its_zeros_is_smaller_and_answers_as_it_did(tmp_path: Path) -> None:
    folder, out = thinned(tmp_path), tmp_path / "sparse"
    assert saves(folder)
    leave_out_zeros(folder, out)
    sizes = [sum(path.stat().st_size for name in WEIGHTS for path in at.glob(name)) for at in (folder, out)]
    assert 0.3 < sizes[1] / sizes[0] < 0.5
    assert [path.name for path in out.glob("*.safetensors")] == [SPARSE_FILE]
    dense, sparse = load_predictor(folder, threads=1), load_predictor(out, threads=1)
    inputs = [TextOrPair("Ann left", "Oslo"), TextOrPair("it rains in Rome " * 9)]
    assert [asdict(one) for one in sparse.predict(inputs)] == [asdict(one) for one in dense.predict(inputs)]
    auto_class = make_task("sequence-classification").auto_class
    plain, read = (load_model(str(at), auto_class=auto_class, dtype="float32", seed=0) for at in (folder, out))
    assert different(dict(plain.named_parameters()), dict(read.named_parameters())) == []
    halve(folder, tmp_path / "one")
    halve(out, tmp_path / "other")
    halves = [load_file(tmp_path / name / "model.safetensors") for name in ("one", "other")]
    assert different(*halves) == []


def different(one: dict[str, Tensor], other: dict[str, Tensor]) -> list[str]:
    assert one.keys() == other.keys()
    return [name for name in one if not torch.equal(one[name], other[name])]


def test_a_dense_copy_lives_only_as_long_as_it_is_read(tmp_path: Path) -> None:
    folder, out = thinned(tmp_path), tmp_path / "sparse"
    leave_out_zeros(folder, out)
    with dense_folder(folder) as place:
        assert place == folder
    with dense_folder(out) as place:
        assert different(load_file(place / "model.safetensors"), load_file(folder / "model.safetensors")) == []
        assert (place / "config.json").read_bytes() == (folder / "config.json").read_bytes()
    assert not place.exists()
    assert (out / "config.json").is_file()


def test_a_model_with_few_zeros_is_left_as_it_is(tmp_path: Path) -> None:
    folder = saved("sequence-classification", tmp_path)
    assert not saves(folder)
    (folder / "model.safetensors").unlink()
    assert not saves(folder)


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        ({"a/bits": None}, "'a' is not whole"),
        ({"a/values": None}, "'a' is not whole"),
        ({"a": MATRIX}, "'a' is not whole"),
        ({"a/values": torch.ones(2)}, "'a' has bits for 3 values, and 2 of them"),
        ({"a/values": torch.ones(1, 3)}, "'a' has bits for 3 values"),
        ({"a/bits": torch.tensor([0b110101], dtype=torch.uint8)}, "'a' has bits for 4 values, and 3 of them"),
        ({"a/bits": torch.tensor([52, 0], dtype=torch.uint8)}, "'a' has bits for another shape than 2 3"),
        ({"a/bits": torch.tensor([52])}, "'a' has bits for another shape"),
    ],
)
def test_a_damaged_file_is_refused_in_words(harm: dict[str, Tensor | None], said: str, tmp_path: Path) -> None:
    bits, values = pack(MATRIX)
    held = {"a/bits": bits, "a/values": values} | harm
    path = tmp_path / SPARSE_FILE
    save_file({name: tensor for name, tensor in held.items() if tensor is not None}, path, metadata={"a": "2 3"})
    with pytest.raises(UserError, match=f"{SPARSE_FILE} cannot be read .*{said}.*: write it anew"):
        read_sparse_file(path)


@pytest.mark.parametrize("shape", ["", "6", "2 3 1", "0 8", "-2 -3", "99999999999 1", "9999999999 9999999999", "2 x"])
def test_a_shape_that_cannot_be_is_refused(shape: str, tmp_path: Path) -> None:
    bits, values = pack(MATRIX)
    save_file({"a/bits": bits, "a/values": values}, tmp_path / "it", metadata={"a": shape})
    with pytest.raises(UserError, match="cannot be read"):
        read_sparse_file(tmp_path / "it")


def test_a_file_that_is_cut_is_refused_by_whoever_loads_it(tmp_path: Path) -> None:
    out = tmp_path / "sparse"
    leave_out_zeros(thinned(tmp_path), out)
    path = out / SPARSE_FILE
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(UserError, match=f"{SPARSE_FILE} cannot be read"):
        load_predictor(out, threads=1)
    with pytest.raises(UserError, match=f"{SPARSE_FILE} cannot be read"):
        load_model(str(out), auto_class=make_task("sequence-classification").auto_class, dtype="float32", seed=0)
