import math

import pytest
import torch
from torch import Tensor

from pipelines.config import TrainConfig
from pipelines.train.compress import Compression, compress, restore
from tests.unit.pipelines.one_process import OneProcess, micro_batches, tiny


def there_and_back(tensors: list[Tensor], how: Compression) -> tuple[list[Tensor], float]:
    message, error = compress(tensors, [True] * len(tensors), how)
    return restore(message, how), error


def test_bfloat16_keeps_eight_bits() -> None:
    (got,), error = there_and_back([torch.tensor([1.0, 257.0, -0.1015625])], "bfloat16")
    assert got.dtype == torch.float32
    assert got.tolist() == [1.0, 256.0, -0.1015625]
    assert error == pytest.approx(1 / math.hypot(1, 257, 0.1015625))


def test_int8_has_a_scale_for_every_row() -> None:
    message, error = compress([torch.tensor([[127.0, 1.4, -63.0], [0.0, 0.254, 0.127], [0, 0, 0]])], [True], "int8")
    assert [part.dtype for part in message] == [torch.uint8, torch.int8, torch.float32]
    assert message[1].tolist() == [[127, 1, -63], [0, 127, 64], [0, 0, 0]]
    assert [round(scale, 6) for (scale,) in message[2].tolist()] == [1.0, 0.002, 0.0]
    (got,) = restore(message, "int8")
    assert torch.allclose(got, torch.tensor([[127.0, 1.0, -63.0], [0.0, 0.254, 0.128], [0, 0, 0]]))
    assert error == pytest.approx(math.hypot(0.4, 0.001) / math.hypot(127, 1.4, 63, 0.254, 0.127))


@pytest.mark.parametrize("how", ["bfloat16", "int8"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16], ids=str)
def test_dtype_and_shape_come_back(how: Compression, dtype: torch.dtype) -> None:
    sent = [torch.randn(2, 0, 3).to(dtype), torch.tensor(1.5, dtype=dtype), torch.randn(3, 1, 5).to(dtype)]
    got, error = there_and_back(sent, how)
    assert [(t.dtype, t.shape) for t in got] == [(t.dtype, t.shape) for t in sent]
    assert error < 0.02


@pytest.mark.parametrize("how", ["bfloat16", "int8"])
def test_what_may_not_lose_anything_arrives_bitwise(how: Compression) -> None:
    mask = torch.tensor([0.0, torch.finfo(torch.float32).min])
    message, error = compress([mask, torch.tensor([2**40 + 1]), torch.ones(2)], [False, True, True], how)
    assert torch.equal(restore(message, how)[0], mask)
    assert restore(message, how)[1].tolist() == [2**40 + 1]
    assert error < 1e-6


@pytest.mark.parametrize("how", ["bfloat16", "int8"])
def test_an_overflow_is_still_one(how: Compression) -> None:
    (got,), _ = there_and_back([torch.tensor([[1.0, torch.inf], [1.0, 2.0]])], how)
    assert not got[0].isfinite().all()
    assert got[1].tolist() == pytest.approx([1.0, 2.0], rel=0.01)


@pytest.mark.parametrize(("how", "most"), [("bfloat16", 0.003), ("int8", 0.02)])
def test_a_step_reports_its_error_and_learns_nearly_the_same(how: Compression, most: float) -> None:
    losses = {}
    for compression in ("none", how):
        train = TrainConfig(learning_rate=1e-3)
        run = OneProcess(tiny("bert"), cut=[3], train=train, compress=compression, num_steps=3)
        losses[compression] = [run.step(number, batches) for number, batches in enumerate(micro_batches(3))]
        errors = [report.compression_error for report in run.reports.values()]
        assert errors == [None, None] if compression == "none" else all(0 < e < most for e in errors)
    assert losses[how] == pytest.approx(losses["none"], rel=most)
    assert losses[how] != losses["none"]
