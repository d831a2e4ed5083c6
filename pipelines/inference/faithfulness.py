"""Whether a model goes by what an explanation names: comprehensiveness and sufficiency (DeYoung et al. 2020)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

FRACTIONS = (0.01, 0.05, 0.1, 0.2, 0.5)
"""Of the sub-words that are taken away or left, each rounded up; the figures are means over them, as in the paper."""
DRAWS = 5
"""Random choices of as many sub-words; the same ones every time."""
ROWS_PER_PASS = 16


@dataclass(frozen=True, slots=True)
class Faithfulness:
    comprehensiveness: float
    """By how much the score falls when the sub-words that did most for it are blank: the more, the better."""
    sufficiency: float
    """By how much it falls when all others are blank: the less, the better."""
    random_comprehensiveness: float
    """The same of as many sub-words by chance."""
    random_sufficiency: float


def faithfulness(
    score: Callable[[Tensor], Tensor], ids: Tensor, shares: Sequence[float], places: Sequence[int], blank: int
) -> Faithfulness:
    """From a score of rows of sub-words [rows, length] -> [rows].

    Args:
        ids: the input's sub-words, [length].
        shares: what the explanation gives to each of the sub-words at `places`.
    """
    best = sorted(range(len(places)), key=lambda i: -shares[i])
    generator = torch.Generator().manual_seed(0)
    orders = [best] + [torch.randperm(len(places), generator=generator).tolist() for _ in range(DRAWS)]
    counts = [math.ceil(fraction * len(places)) for fraction in FRACTIONS]
    rows = [ids]
    for order in orders:
        for count in counts:
            for chosen in (order[:count], order[count:]):
                row = ids.clone()
                row[[places[i] for i in chosen]] = blank
                rows.append(row)
    scores = torch.cat([score(torch.stack(rows[at : at + ROWS_PER_PASS])) for at in range(0, len(rows), ROWS_PER_PASS)])
    # [orders, counts, taken away or left]
    falls = (scores[0] - scores[1:]).double().reshape(len(orders), len(counts), 2).mean(1)
    (comprehensiveness, sufficiency), chance = falls[0].tolist(), falls[1:].mean(0).tolist()
    return Faithfulness(comprehensiveness, sufficiency, *chance)
