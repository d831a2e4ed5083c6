"""The one matrix product that training spends its time in, by the fastest kernel that the library has for it.

torch hands float32 products on a CPU to MKL, which on processors that are not Intel's leaves the wide
vector units idle; oneDNN, which torch brings along and uses for bfloat16, does not (twice as fast on an
AMD Zen 5 core, `make bench`). The rule is fixed, and not found by timing at run time: stages that chose
differently would round differently.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

ONE_DNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`x weight' + bias`: [..., n] times [m, n] gives [..., m]. Either may be a transposed view."""
    if ONE_DNN and x.dtype == torch.float32 and x.device.type == "cpu" and x.numel():
        result: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
        return result
    return F.linear(x, weight, bias)
