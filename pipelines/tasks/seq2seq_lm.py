"""Text from text: translations, summaries, answers, by models with an encoder and a decoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from pipelines.data.examples import IGNORE, Encoded, Translated, ints
from pipelines.data.translated import TRANSLATED
from pipelines.errors import UserError
from pipelines.tasks.head import Batch
from pipelines.tasks.text_inputs import padded, text_padding
from pipelines.tasks.token_scores import token_scores
from pipelines.tasks.writing import Asked, WritingTask


@dataclass(frozen=True, slots=True)
class TwoTexts:
    """A tokenizer for both texts, and what the model's decoder wants to know of its input."""

    tokenizer: Any
    start: int
    """What the decoder reads before the first sub-word."""
    pad: int
    """What its input is padded with."""

    @property
    def model_max_length(self) -> int:
        return int(self.tokenizer.model_max_length)

    def save_pretrained(self, folder: Path) -> None:
        self.tokenizer.save_pretrained(folder)


class Seq2SeqLM(WritingTask):
    """Every sub-word of the target is learnt from the source and those before it, its end included.

    Source and target may be as long as the model takes, each; what is longer loses its end. An example costs what both
    cost together.
    """

    kind = TRANSLATED

    @property
    def auto_class(self) -> Any:
        from transformers import AutoModelForSeq2SeqLM

        return AutoModelForSeq2SeqLM

    def load_processor(self, source: str) -> TwoTexts:
        """The tokenizer, be it fast or slow, with what the model's configuration says of its decoder.

        Raises:
            UserError: there is no tokenizer, or the model does not say with what a decoder begins.
        """
        from pipelines.model.load import load_config_of, load_tokenizer

        tokenizer = load_tokenizer(source, words=False, slow_will_do=True)
        config = load_config_of(source)
        start, pad = (getattr(config, name, None) for name in ("decoder_start_token_id", "pad_token_id"))
        if start is None:
            raise UserError(
                f"The configuration of {source!r} has no decoder_start_token_id, so it is no model that writes one "
                "text from another. Use one such as T5, BART or Marian, or set it in its config.json."
            )
        return TwoTexts(tokenizer, int(start), int(tokenizer.pad_token_id or 0 if pad is None else pad))

    def probe(self, processor: TwoTexts) -> dict[str, Tensor]:
        rows = self.encode(
            [Translated("a b c", "d e"), Translated("d", "f")], processor, [], processor.model_max_length
        )
        padding = self.padding(processor)
        sides = (("input_ids", "attention_mask"), ("decoder_input_ids",))
        inputs: dict[str, Tensor] = {}
        for names in sides:
            columns = {name: [row.columns[name].tolist() for row in rows] for name in names}
            inputs |= padded(columns, padding)
        return inputs

    def encode(
        self,
        rows: Sequence[Translated],
        processor: TwoTexts,
        labels: Sequence[str],  # noqa: ARG002
        max_length: int,
    ) -> list[Encoded]:
        if not rows:
            return []
        take, wanted = processor.tokenizer, {"verbose": False}
        sources = take([row.source for row in rows], **wanted)["input_ids"]
        targets = take(text_target=[row.target for row in rows], **wanted)["input_ids"]
        examples = []
        for row, source, target in zip(rows, sources, targets, strict=True):
            full = len(source) + len(target)
            if len(source) > max_length:
                source = take(row.source, truncation=True, max_length=max_length, **wanted)["input_ids"]
            if len(target) > max_length:
                target = take(text_target=row.target, truncation=True, max_length=max_length, **wanted)["input_ids"]
            columns = {
                "input_ids": ints(source),
                "attention_mask": ints([1] * len(source)),
                "decoder_input_ids": ints([processor.start, *target[:-1]]),
                "labels": ints(target or [IGNORE]),
            }
            length = len(source) + len(target)
            examples.append(Encoded(columns, length, len(target), num_cut=full - length))
        return examples

    def padding(self, processor: TwoTexts) -> dict[str, float]:
        return {**text_padding(processor.tokenizer), "decoder_input_ids": processor.pad, "labels": IGNORE}

    def loss_sum(self, output: Any, batch: Batch) -> Tensor:
        """Cross entropy of `output.logits` [rows, length, sub-words] at `labels` [rows, length]."""
        return self.loss.sum(output.logits, batch["labels"])

    def answers(self, output: Any, batch: Batch) -> list[Any]:
        """See pipelines/tasks/token_scores.py; the decoder reads the true target. Without labels the next sub-word."""
        if "labels" in batch:
            return token_scores(output.logits, batch["labels"])
        rules = self.settings.rules
        assert rules is not None
        pairs = zip(output.logits[:, -1], batch["decoder_input_ids"], strict=True)
        return [rules.next_token(logits, before, asked=1) for logits, before in pairs]

    def asked(self, row: Translated, encoded: Encoded, max_length: int) -> Asked:
        return Asked(len(encoded.columns["input_ids"]) + 1, max_length, row.target)

    def resumed(self, encoded: Encoded, written: Sequence[int]) -> Encoded:
        """All texts of a micro-batch are as long: they are written side by side from the same start."""
        columns = {name: encoded.columns[name] for name in ("input_ids", "attention_mask")}
        columns["decoder_input_ids"] = ints([*encoded.columns["decoder_input_ids"][:1].tolist(), *written])
        return Encoded(columns, sum(map(len, columns.values())), 0)

    def text(self, processor: TwoTexts, written: Sequence[int]) -> str:
        return str(processor.tokenizer.decode(list(written), skip_special_tokens=True)).strip()
