"""In which precision losses and answers are computed."""

from __future__ import annotations

import torch
from torch import Tensor


def widened(values: Tensor) -> Tensor:
    """Half precision as float32; anything else as it is."""
    return values.float() if values.dtype in {torch.bfloat16, torch.float16} else values
