"""Real texts of mixed length: sentences of a CoNLL file, one or several that stand behind each other."""

from __future__ import annotations

import random
from pathlib import Path

from tests.bench.inputs import read_conll

SEED = 0
LONGEST = 150
"""Words: every server here reads texts of so many whole."""


def mixed_texts(path: Path, count: int) -> list[str]:
    """Texts of 1 to `LONGEST` words, most of them short: how many sentences one has is drawn log-normally."""
    draw, sentences = random.Random(SEED), [sentence.words for sentence in read_conll(path)]
    texts: list[str] = []
    at = 0
    while len(texts) < count:
        wanted = max(1, round(draw.lognormvariate(0.0, 0.9)))
        words = [word for n in range(wanted) for word in sentences[(at + n) % len(sentences)]]
        at += wanted
        texts.append(" ".join(words[:LONGEST]))
    return texts
