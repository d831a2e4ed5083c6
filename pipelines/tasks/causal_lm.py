"""Text that goes on: every sub-word from those before it, of whole texts, or of the answers of chats."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from pipelines.data.examples import IGNORE, Chat, Document, Encoded, ints
from pipelines.data.texts import ASSISTANT, TEXTS_AND_CHATS
from pipelines.tasks.chat import with_template, written
from pipelines.tasks.head import Batch
from pipelines.tasks.text_inputs import padded, text_padding
from pipelines.tasks.token_scores import token_scores
from pipelines.tasks.writing import Asked, WritingTask


class CausalLM(WritingTask):
    """Of a text every sub-word is learnt but the first, its end included; of a chat, what the assistant says.

    A text that is longer than the model takes goes on in further pieces, each of which begins with the last sub-word of
    the one before. A chat loses its end. With `data.packing` a row of a micro-batch holds several texts or chats:
    nothing is learnt of the first sub-word of any, so that no loss crosses from one to the next.
    """

    kind = TEXTS_AND_CHATS
    packs = True

    @property
    def auto_class(self) -> Any:
        from transformers import AutoModelForCausalLM

        return AutoModelForCausalLM

    def load_processor(self, source: str) -> Any:
        """The tokenizer, with a chat template.

        Raises:
            UserError: there is none, or only a slow one (which cannot tell where an answer begins).
        """
        from pipelines.model.load import load_tokenizer

        return with_template(load_tokenizer(source, words=False))

    def probe(self, processor: Any) -> dict[str, Tensor]:
        rows = [_document(processor, ids) for ids in processor(["a b c", "d"])["input_ids"]]
        return padded({"input_ids": rows, "attention_mask": [[1] * len(ids) for ids in rows]}, text_padding(processor))

    def encode(
        self,
        rows: Sequence[Document | Chat],
        processor: Any,
        labels: Sequence[str],  # noqa: ARG002
        max_length: int,
    ) -> list[Encoded]:
        texts = [row.text for row in rows if isinstance(row, Document)]
        documents = iter(processor(texts, verbose=False)["input_ids"] if texts else ())
        examples: list[Encoded] = []
        for row in rows:
            if isinstance(row, Document):
                examples += _pieces(_document(processor, next(documents)), max_length)
            else:
                examples.append(_chat(row, processor, max_length))
        return examples

    def count(self, row: Document | Chat) -> dict[str, int]:
        return {"chats": int(isinstance(row, Chat))}

    def facts(self, counts: Mapping[str, int]) -> dict[str, Any]:
        """`chats`: whether it learnt to answer."""
        return {"chats": counts.get("chats", 0) > 0}

    def padding(self, processor: Any) -> dict[str, float]:
        return {**text_padding(processor), "labels": IGNORE, "asked": 0}

    def loss_sum(self, output: Any, batch: Batch) -> Tensor:
        """Cross entropy of `output.logits` [rows, length, sub-words] at `labels` [rows, length], shifted by one."""
        return self.loss.sum(*_shifted(output, batch))

    def answers(self, output: Any, batch: Batch) -> list[Any]:
        """See pipelines/tasks/token_scores.py. Without labels the next sub-word."""
        if "labels" in batch:
            return token_scores(*_shifted(output, batch))
        rules = self.settings.rules
        assert rules is not None
        logits, found = output.logits[:, -batch["input_ids"].shape[1] :], []
        for row, ids, mask, asked in zip(
            logits, batch["input_ids"], batch["attention_mask"], batch["asked"], strict=True
        ):
            length = int(mask.sum())
            found.append(rules.next_token(row[length - 1], ids[:length], int(asked[0])))
        return found

    def inputs(self, batch: Batch) -> dict[str, Tensor]:
        return {name: column for name, column in batch.items() if name not in ("labels", "asked")}

    def asked(self, row: Document | Chat, encoded: Encoded, max_length: int) -> Asked | None:
        """The last answer of a chat that was not cut."""
        if isinstance(row, Document) or encoded.num_cut or not encoded.num_targets:
            return None
        length = _before_answer(encoded)
        answer = next(message.content for message in reversed(row.messages) if message.role == ASSISTANT)
        return Asked(length, max_length - length, answer) if length else None

    def resumed(self, encoded: Encoded, written: Sequence[int]) -> Encoded:
        length = _before_answer(encoded)
        ids = [*encoded.columns["input_ids"][:length].tolist(), *written]
        columns = {"input_ids": ints(ids), "attention_mask": ints([1] * len(ids)), "asked": ints([length])}
        return Encoded(columns, len(ids), 0)

    def text(self, processor: Any, written: Sequence[int]) -> str:
        return str(processor.decode(list(written), skip_special_tokens=True)).strip()


def _shifted(output: Any, batch: Batch) -> tuple[Tensor, Tensor]:
    """What stands at a sub-word foretells the next one; prompt tuning puts tokens of its own in front of them."""
    labels = batch["labels"]
    return output.logits[:, -labels.shape[1] :][:, :-1], labels[:, 1:]


def _document(tokenizer: Any, ids: Sequence[int]) -> list[int]:
    """A text's sub-words and its end, at least one in all."""
    end = tokenizer.eos_token_id
    closed = [*ids, end] if end is not None and list(ids[-1:]) != [end] else list(ids)
    return closed or [tokenizer.unk_token_id or 0]


def _pieces(ids: Sequence[int], max_length: int) -> Iterator[Encoded]:
    for at in range(0, max(1, len(ids) - 1), max_length - 1):
        piece = ids[at : at + max_length]
        yield _encoded(piece, [IGNORE, *piece[1:]], continues=at > 0)


def _chat(chat: Chat, tokenizer: Any, max_length: int) -> Encoded:
    text, spans = written(chat, tokenizer)
    # The template has written what opens a text.
    found = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    ids = found["input_ids"] or [tokenizer.unk_token_id or 0]
    labels = [IGNORE] * len(ids)
    for at, (begin, end) in enumerate(found["offset_mapping"]):
        if at and any(begin < last and end > first for first, last in spans):
            labels[at] = ids[at]
    return _encoded(ids[:max_length], labels[:max_length], num_cut=max(0, len(ids) - max_length))


def _before_answer(encoded: Encoded) -> int:
    """How many sub-words stand before the last answer: the last targets that stand side by side."""
    rest = (encoded.columns["labels"] == IGNORE)[: int(np.flatnonzero(encoded.columns["labels"] != IGNORE)[-1])]
    return int(np.flatnonzero(rest)[-1]) + 1 if rest.any() else 0


def _encoded(ids: Sequence[int], labels: Sequence[int], *, num_cut: int = 0, continues: bool = False) -> Encoded:
    columns = {"input_ids": ints(ids), "attention_mask": ints([1] * len(ids)), "labels": ints(labels)}
    num_targets = sum(label != IGNORE for label in labels)
    return Encoded(columns, len(ids), num_targets, num_cut=num_cut, continues=continues)
