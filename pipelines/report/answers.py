"""Answers that stand in texts, scored as by SQuAD's own script (arXiv 1806.03822): exact match, and F1 of words."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
# Scripts without spaces: every character is a word.
_CHARACTER = re.compile("([\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff])")


@dataclass(frozen=True, slots=True)
class AnswerReport:
    exact: float
    """Share of the questions whose answer is one of the right ones, but for case, articles and punctuation."""
    f1: float
    """Mean F1 of the words, for each question with the answer that it comes nearest to."""
    questions: int
    answerable: int
    """How many have an answer."""

    @property
    def score(self) -> float:
        return self.f1

    @property
    def score_name(self) -> str:
        return "F1"

    def metrics(self, prefix: str) -> dict[str, float]:
        return {f"{prefix}/exact": self.exact, f"{prefix}/f1": self.f1}

    def table(self) -> str:
        return f"exact {self.exact:.4f}, F1 {self.f1:.4f}, {self.questions} questions, {self.answerable} with an answer"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def draw(self, folder: Path) -> None:
        """Nothing: the figures say it."""


def answer_report(said: Sequence[str], right: Sequence[Sequence[str]]) -> AnswerReport:
    """Compare answers; an empty one says that there is none, and no right ones mean that.

    Args:
        said: of each question.
        right: of each question, any of them.
    """
    pairs = list(zip(said, right, strict=True))
    count = max(1, len(pairs))
    return AnswerReport(
        exact=sum(is_exact(*pair) for pair in pairs) / count,
        f1=sum(overlap(*pair) for pair in pairs) / count,
        questions=len(pairs),
        answerable=sum(bool(answers) for answers in right),
    )


def is_exact(said: str, right: Sequence[str]) -> bool:
    """Whether it is one of the right ones."""
    return any(_words(said) == _words(one) for one in right or [""])


def overlap(said: str, right: Sequence[str]) -> float:
    """F1 of the words with the right answer that it comes nearest to."""
    return max(_f1(_words(said), _words(one)) for one in right or [""])


def _f1(said: list[str], right: list[str]) -> float:
    if not said or not right:
        return float(said == right)
    common = (Counter(said) & Counter(right)).total()
    return 2 * common / (len(said) + len(right))


def _words(text: str) -> list[str]:
    bare = _ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION))
    return _CHARACTER.sub(r" \1 ", bare).split()
