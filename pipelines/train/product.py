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


ROWS = 16
"""Rows are filled up to a multiple of this: oneDNN compiles a kernel for every new shape, for about as long
as the product itself takes, and micro-batches would bring a new number of rows nearly every time."""


def filled(x: Tensor) -> Tensor:
    """`x` [..., n] as [rows, n], with rows of zeros at the end where a CPU's product wants them."""
    flat = x.flatten(0, -2)
    lacking = -flat.shape[0] % ROWS
    if x.device.type != "cpu" or x.dtype == torch.float64 or not lacking:
        return flat
    return torch.cat([flat, flat.new_zeros(lacking, flat.shape[1])])


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`x weight' + bias`: [..., n] times [m, n] gives [..., m]. Either may be a transposed view."""
    if ONE_DNN and x.dtype == torch.float32 and x.device.type == "cpu" and x.numel():
        result: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
        return result
    if x.dtype == torch.float16 and x.device.type == "cpu":
        # No CPU here multiplies float16: torch's loops take five times as long as float32, and sum no better.
        return product(x.float(), weight.float(), None if bias is None else bias.float()).half()
    return F.linear(x, weight, bias)
