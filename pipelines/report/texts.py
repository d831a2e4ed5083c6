"""How near written texts come to those that ought to be written."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipelines.report.report import Report

CHINESE, JAPANESE = re.compile(r"[\u3400-\u9fff]"), re.compile(r"[\u3040-\u30ff]")
WORDS = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W_\u3040-\u30ff\u3400-\u9fff]+")
"""A character of a script without spaces, or letters and digits side by side."""
SHARE = 0.3
"""Of the characters of texts in Chinese, at least so many are Chinese."""


@dataclass(frozen=True, slots=True)
class TextReport:
    """Scores of texts beside those of the same split's sub-words."""

    tokens: Report
    """Its score stays the one by which checkpoints are compared: it is there after every epoch."""
    bleu: float
    """0 to 100, of the whole split (sacreBLEU)."""
    chrf: float
    """0 to 100, of the whole split (sacreBLEU)."""
    rouge_l: float
    """0 to 1, mean over the texts of the F1 of the longest common subsequence of words."""
    tokenizer: str
    """How sacreBLEU takes words apart: 13a, or zh or char for scripts without spaces."""
    texts: int

    @property
    def score(self) -> float:
        return self.tokens.score

    @property
    def score_name(self) -> str:
        return self.tokens.score_name

    def metrics(self, prefix: str) -> dict[str, float]:
        own = {"bleu": self.bleu, "chrf": self.chrf, "rouge_l": self.rouge_l}
        return self.tokens.metrics(prefix) | {f"{prefix}/{name}": value for name, value in own.items()}

    def table(self) -> str:
        return (
            f"{self.tokens.table()}\nBLEU {self.bleu:.2f} ({self.tokenizer}), chrF {self.chrf:.2f}, ROUGE-L "
            f"{self.rouge_l:.4f}, {self.texts} texts written"
        )

    def to_json(self) -> dict[str, Any]:
        own = {name: value for name, value in asdict(self).items() if name != "tokens"}
        return self.tokens.to_json() | own

    def draw(self, folder: Path) -> None:
        """What there is to see of the sub-words."""
        self.tokens.draw(folder)


def text_report(tokens: Report, true: Sequence[str], written: Sequence[str]) -> TextReport:
    """Compare texts one by one, at least one.

    Args:
        tokens: the report of the same split's sub-words.
        true: what ought to be written.
        written: what was.
    """
    from rouge_score.rouge_scorer import RougeScorer
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

    tokenizer = words_of(true)
    rouge = RougeScorer(["rougeL"], tokenizer=_Words())
    shares = [rouge.score(a, b)["rougeL"].fmeasure for a, b in zip(true, written, strict=True)]
    return TextReport(
        tokens=tokens,
        bleu=float(BLEU(tokenize=tokenizer).corpus_score(written, [true]).score),
        chrf=float(CHRF().corpus_score(written, [true]).score),
        rouge_l=float(sum(shares) / len(shares)),
        tokenizer=tokenizer,
        texts=len(true),
    )


def words_of(texts: Sequence[str]) -> str:
    """Which of sacreBLEU's tokenizers takes texts apart."""
    whole = "".join("".join(texts).split())
    if len(JAPANESE.findall(whole)) > SHARE * len(whole):
        return "char"
    return "zh" if len(CHINESE.findall(whole)) > SHARE * len(whole) else "13a"


class _Words:
    """For rouge-score, whose own tokenizer knows no letters but a to z; of these it makes the same words."""

    def tokenize(self, text: str) -> list[str]:
        return WORDS.findall(text.lower())
