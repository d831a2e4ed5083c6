"""Vectors of texts: of two that belong together the like ones, so that one is found by the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from pipelines.data.examples import Array, Encoded, LabelledText, ints
from pipelines.data.matched import MATCHED
from pipelines.tasks.head import Batch
from pipelines.tasks.precision import widened
from pipelines.tasks.raw_text import RawTextTask
from pipelines.tasks.text_inputs import text_padding

if TYPE_CHECKING:
    from pipelines.report.retrieval import RetrievalReport


class SentenceEmbedding(RawTextTask):
    """Mean of the last hidden states; of the micro-batch's texts a text is to find its own (InfoNCE).

    The loss of a pair is the cross entropy of the cosines of its text with all matching texts of the micro-batch, over
    `train.temperature`, as in SimCSE (arXiv 2104.08821). So it depends on what is in a micro-batch: on
    `train.batch_size`, `train.micro_batches` and `train.token_budget`, which are the run's, and never on the plan. With
    `train.micro_batches: 1` every pair is compared with all of its batch.
    """

    kind = MATCHED
    smooths = False

    @property
    def auto_class(self) -> Any:
        from transformers import AutoModel

        return AutoModel

    def encode(
        self,
        rows: Sequence[LabelledText],
        processor: Any,
        labels: Sequence[str],  # noqa: ARG002
        max_length: int,
    ) -> list[Encoded]:
        """Columns [length of the longer text, 2]: both texts, padded."""
        padding = text_padding(processor)
        encoded = []
        for row in rows:
            full = [processor(text, verbose=False) for text in (row.text, row.pair or "")]
            kept = [
                processor(text, truncation=True, max_length=max_length) if len(one["input_ids"]) > max_length else one
                for text, one in zip((row.text, row.pair or ""), full, strict=True)
            ]
            lengths = [len(one["input_ids"]) for one in kept]
            columns = {name: _beside([one[name] for one in kept], int(padding[name])) for name in kept[0]}
            cut = sum(len(one["input_ids"]) for one in full) - sum(lengths)
            encoded.append(Encoded(columns | {"labels": ints([0])}, 2 * max(lengths), 1, num_cut=cut))
        return encoded

    def padding(self, processor: Any) -> dict[str, float]:
        return {**text_padding(processor), "labels": 0}

    def inputs(self, batch: Batch) -> dict[str, Tensor]:
        """[2 * rows, length]: all texts, then what belongs to them."""
        return {name: torch.cat([column[..., 0], column[..., 1]]) for name, column in batch.items() if name != "labels"}

    def loss_sum(self, output: Any, batch: Batch) -> Tensor:
        """Cross entropy of all cosines [rows, rows] at the diagonal."""
        texts, pairs = self._vectors(output, batch).chunk(2)
        cosines = texts @ pairs.T / self.settings.temperature
        return F.cross_entropy(cosines, torch.arange(len(texts), device=cosines.device), reduction="sum")

    def answers(self, output: Any, batch: Batch) -> list[Any]:
        """Both vectors of each row, of length 1: [2, hidden]."""
        return list(torch.stack(self._vectors(output, batch).chunk(2), 1).float().cpu().numpy())

    def settled(self, gold: Sequence[str], answers: Sequence[Array]) -> tuple[range, list[Array]]:
        """Of each text the rank of what belongs to it among all different matching texts of the split, from 1: [1]."""
        from pipelines.report.retrieval import ranks

        return range(len(gold)), list(ranks(gold, np.stack(answers))[:, None])

    def gold(self, row: LabelledText, encoded: Encoded) -> str:  # noqa: ARG002
        """What belongs to it."""
        return row.pair or ""

    def tally(self, gold: str, answer: Array, labels: Sequence[str]) -> tuple[float, ...]:  # noqa: ARG002
        """nDCG of the first ten, and 1."""
        from pipelines.report.retrieval import gain

        return float(gain(answer[0])), 1

    def score_of(self, sums: Array) -> Array:
        """The mean nDCG of the first ten."""
        ndcg: Array = sums[..., 0] / np.maximum(sums[..., 1], 1)
        return ndcg

    def wrongness(self, gold: str, answer: Array, labels: Sequence[str]) -> float:  # noqa: ARG002
        """How many others come first."""
        return float(answer[0]) - 1

    def told(self, gold: str, answer: Array, labels: Sequence[str]) -> tuple[str, str]:  # noqa: ARG002
        return gold or "nothing", f"found as number {int(answer[0])}"

    def report(self, gold: Sequence[str], answers: Sequence[Array], labels: Sequence[str]) -> RetrievalReport:  # noqa: ARG002
        from pipelines.report.retrieval import retrieval_report

        return retrieval_report(np.concatenate(answers), len(set(gold)))

    def _vectors(self, output: Any, batch: Batch) -> Tensor:
        states = widened(output.last_hidden_state)
        mask = self.inputs(batch)["attention_mask"][..., None].to(states.dtype)
        mean = (states * mask).sum(1) / mask.sum(1).clamp(min=1)
        return F.normalize(mean, dim=-1)


def _beside(texts: Sequence[Sequence[int]], padding: int) -> Array:
    """[length of the longest, texts]."""
    width = max(map(len, texts))
    return np.asarray([[*text, *[padding] * (width - len(text))] for text in texts], np.int32).T
