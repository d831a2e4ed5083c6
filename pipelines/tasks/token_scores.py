"""What an evaluation must know of the sub-words that were to be foretold: three numbers an example."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from pipelines.data.examples import IGNORE, Array


def token_scores(logits: Tensor, targets: Tensor) -> list[Array]:
    """Of each row the sum of -log p of its targets, how many have the largest logit, and how many there are: [3].

    Args:
        logits: [rows, length, classes].
        targets: class numbers [rows, length], IGNORE where there is none.
    """
    valid = targets != IGNORE
    said, true = logits[valid], targets[valid]
    said = said.float() if said.dtype in {torch.bfloat16, torch.float16} else said
    lost = F.cross_entropy(said, true, reduction="none")
    right = said.argmax(-1) == true
    counts = valid.sum(-1).tolist()
    parts = zip(lost.split(counts), right.split(counts), counts, strict=True)
    return [np.asarray([float(a.double().sum()), int(b.sum()), n], np.float64) for a, b, n in parts]
