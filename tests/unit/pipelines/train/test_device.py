"""Where a stage's tensors lie."""

from __future__ import annotations

import torch

from pipelines.train.device import ALIGNMENT, Device


def test_a_tensor_from_another_process_is_moved_to_where_torch_would_have_put_it() -> None:
    device = Device(torch.device("cpu"), threads=1)
    message = torch.arange(33, dtype=torch.float32)[1:]
    assert message.data_ptr() % ALIGNMENT
    taken = device.take(message)
    assert taken.data_ptr() % ALIGNMENT == 0
    assert torch.equal(taken, message)
    assert device.take(taken) is taken
