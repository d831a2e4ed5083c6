"""Text whose hidden sub-words are to be found, as in BERT's pre-training (arXiv 1810.04805, section 3.1)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import Any

import numpy as np
from torch import Tensor

from pipelines.data.examples import IGNORE, Array, Document, Encoded, ints
from pipelines.data.texts import TEXTS
from pipelines.errors import UserError
from pipelines.tasks.head import Batch
from pipelines.tasks.text_inputs import padded, text_padding
from pipelines.tasks.token_scores import token_scores
from pipelines.tasks.token_task import TokenTask

AS_MASK, AS_ANOTHER = 0.8, 0.1
"""Of the chosen sub-words so many become the mask, and so many any sub-word; the others stay as they are."""


HIDEABLE = "hideable"


class MaskedLM(TokenTask):
    """Of every piece of text a share of the sub-words, at least one, is hidden; the loss is that of finding them.

    Which ones, and what stands in their place, depends on the run's seed, on the epoch and on the piece itself, and on
    nothing else, such as the data shard that holds it. So the model meets each piece under other masks in every epoch
    (RoBERTa, arXiv 1907.11692, section 4.1); outside of training they are always the same, so that scores compare. A
    text that is longer than the model takes goes on in further pieces.
    """

    kind = TEXTS

    @property
    def auto_class(self) -> Any:
        from transformers import AutoModelForMaskedLM

        return AutoModelForMaskedLM

    def load_processor(self, source: str) -> Any:
        """The tokenizer.

        Raises:
            UserError: there is none, or it has no mask.
        """
        from pipelines.model.load import load_tokenizer

        tokenizer = load_tokenizer(source, words=False)
        if tokenizer.mask_token_id is None:
            raise UserError(
                f"The tokenizer of {source!r} has no mask token, so the model does not look for hidden words. Use a "
                "model such as BERT or RoBERTa, or train.task=causal-lm."
            )
        return tokenizer

    def probe(self, processor: Any) -> dict[str, Tensor]:
        return padded(processor(["a b c", "d"]), text_padding(processor))

    def encode(
        self,
        rows: Sequence[Document],
        processor: Any,
        labels: Sequence[str],  # noqa: ARG002
        max_length: int,
    ) -> list[Encoded]:
        """Pieces of at most `max_length` sub-words, the special ones included.

        `hideable`: [length], 1 where a sub-word may be hidden.
        """
        if not rows:
            return []
        pieces = processor(
            [row.text for row in rows],
            truncation=True,
            max_length=max_length,
            return_overflowing_tokens=True,
            return_special_tokens_mask=True,
        )
        texts = pieces.pop("overflow_to_sample_mapping")
        special = pieces.pop("special_tokens_mask")
        examples = []
        for at, text in enumerate(texts):
            columns = {name: ints(pieces[name][at]) for name in pieces}
            hideable = 1 - ints(special[at])
            ids, targets = self._hide(columns["input_ids"], hideable, processor, f"{self.settings.seed}/")
            columns |= {"input_ids": ids, "labels": targets, HIDEABLE: hideable}
            continues = at > 0 and texts[at - 1] == text
            num_targets = int((targets != IGNORE).sum())
            examples.append(Encoded(columns, len(ids), num_targets, continues=continues))
        return examples

    def drawn(self, example: Encoded, processor: Any, epoch: int) -> Encoded:
        """With the masks of an epoch: as many, elsewhere."""
        columns = dict(example.columns)
        hideable, labels = columns.pop(HIDEABLE), columns["labels"]
        ids = np.where(labels == IGNORE, columns["input_ids"], labels)
        seen, targets = self._hide(ids, hideable, processor, f"{self.settings.seed}/{epoch}/")
        return replace(example, columns=columns | {"input_ids": seen, "labels": targets})

    def _hide(self, ids: Array, hideable: Array, tokenizer: Any, of: str) -> tuple[Array, Array]:
        """What the model reads, and what is to be found there.

        Args:
            of: what the masks depend on beside the piece.
        """
        seen, targets = ids.copy(), np.full_like(ids, IGNORE)
        words = np.flatnonzero(hideable).tolist()
        if not words:
            return seen, targets
        key = blake2b(of.encode() + seen.tobytes(), digest_size=16).digest()
        chance = random.Random(int.from_bytes(key, "big"))
        for at in sorted(chance.sample(words, max(1, round(self.settings.mask_probability * len(words))))):
            targets[at] = ids[at]
            kind = chance.random()
            if kind < AS_MASK:
                seen[at] = tokenizer.mask_token_id
            elif kind < AS_MASK + AS_ANOTHER:
                seen[at] = chance.randrange(len(tokenizer))
        return seen, targets

    def padding(self, processor: Any) -> dict[str, float]:
        return {**text_padding(processor), "labels": IGNORE, HIDEABLE: 0}

    def inputs(self, batch: Batch) -> dict[str, Tensor]:
        return {name: column for name, column in batch.items() if name not in ("labels", HIDEABLE)}

    def loss_sum(self, output: Any, batch: Batch) -> Tensor:
        """Cross entropy of `output.logits` [rows, length, sub-words] at `labels` [rows, length]."""
        return self.loss.sum(_logits(output, batch), batch["labels"])

    def answers(self, output: Any, batch: Batch) -> list[Any]:
        """See pipelines/tasks/token_scores.py."""
        return token_scores(_logits(output, batch), batch["labels"])


def _logits(output: Any, batch: Batch) -> Tensor:
    """Of the input itself: prompt tuning puts tokens of its own in front of it."""
    logits: Tensor = output.logits[:, -batch["labels"].shape[1] :]
    return logits
