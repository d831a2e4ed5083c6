"""What an evaluation must know of the sub-words that were to be foretold: three numbers an example."""

from __future__ import annotations

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from pipelines.data.examples import IGNORE, Array
from pipelines.tasks.precision import widened


def token_scores(logits: Tensor, targets: Tensor) -> list[Array]:
    """Of each row the sum of -log p of its targets, how many have the largest logit, and how many there are: [3].

    Args:
        logits: [rows, length, classes].
        targets: class numbers [rows, length], IGNORE where there is none.
    """
    valid = targets != IGNORE
    said, true = widened(logits[valid]), targets[valid]
    lost = F.cross_entropy(said, true, reduction="none")
    right = said.argmax(-1) == true
    counts = valid.sum(-1).tolist()
    parts = zip(lost.split(counts), right.split(counts), counts, strict=True)
    return [np.asarray([float(a.double().sum()), int(b.sum()), n], np.float64) for a, b, n in parts]
