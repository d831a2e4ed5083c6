"""Put an adapter onto a model, whole or a skeleton."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from pipelines.adapt.adapted import Adapted
from pipelines.adapt.bottleneck import BottleneckAdapted, BottleneckConfig
from pipelines.adapt.with_peft import PeftAdapted


def attach(model: nn.Module, config: Any, *, seed: int | None = None) -> Adapted:
    """Put the adapter that `config` (from `adapter_config`) describes onto `model`, which is changed.

    Args:
        seed: what the adapter's first weights are drawn from; None where they come from elsewhere.

    Raises:
        UserError: this adapter cannot be put onto this model.
    """
    state = torch.get_rng_state()
    if seed is not None:
        torch.manual_seed(seed)
    try:
        return BottleneckAdapted(model, config) if isinstance(config, BottleneckConfig) else PeftAdapted(model, config)
    finally:
        torch.set_rng_state(state)
