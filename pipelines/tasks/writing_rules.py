"""What a model's generation configuration allows and forbids where the likeliest sub-word is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pipelines.errors import UserError

UNKNOWN = (
    "constraints", "encoder_no_repeat_ngram_size", "encoder_repetition_penalty", "exponential_decay_length_penalty",
    "force_words_ids", "guidance_scale", "remove_invalid_values", "sequence_bias", "watermarking_config",
)  # fmt: skip
"""Rules of transformers that are not kept here."""
NEUTRAL = (None, False, 0, 1)


@dataclass(frozen=True, slots=True)
class WritingRules:
    """The rules by which `generate(do_sample=False, num_beams=1, max_new_tokens=most)` of transformers writes."""

    most: int
    """Most sub-words of a text."""
    ends: tuple[int, ...] = ()
    """Sub-words that end a text."""
    repetition_penalty: float = 1.0
    no_repeat_ngram_size: int = 0
    bad_words_ids: tuple[tuple[int, ...], ...] = ()
    min_length: int = 0
    min_new_tokens: int = 0
    forced_bos_token_id: int | None = None
    forced_eos_token_id: tuple[int, ...] = ()
    suppress_tokens: tuple[int, ...] = ()
    begin_suppress_tokens: tuple[int, ...] = ()

    def next_token(self, logits: Tensor, before: Tensor, asked: int) -> int:
        """The likeliest sub-word that may come next.

        Args:
            logits: [sub-words].
            before: what there is of the text, [length].
            asked: how much of it was there at the beginning.
        """
        import transformers as library

        ends = list(self.ends)
        processors: list[Any] = []
        # In the order in which transformers applies them.
        if self.repetition_penalty != 1:
            processors.append(library.RepetitionPenaltyLogitsProcessor(self.repetition_penalty))
        if self.no_repeat_ngram_size:
            processors.append(library.NoRepeatNGramLogitsProcessor(self.no_repeat_ngram_size))
        if self.bad_words_ids:
            bad = [list(words) for words in self.bad_words_ids]
            processors.append(library.NoBadWordsLogitsProcessor(bad, torch.tensor(ends)))
        device = str(logits.device)
        if self.min_length and ends:
            processors.append(library.MinLengthLogitsProcessor(self.min_length, ends, device=device))
        if self.min_new_tokens and ends:
            shortest = self.min_new_tokens
            processors.append(library.MinNewTokensLengthLogitsProcessor(asked, shortest, ends, device=device))
        if self.forced_bos_token_id is not None:
            processors.append(library.ForcedBOSTokenLogitsProcessor(self.forced_bos_token_id))
        if self.forced_eos_token_id:
            end = list(self.forced_eos_token_id)
            processors.append(library.ForcedEOSTokenLogitsProcessor(asked + self.most, end, device=device))
        if self.suppress_tokens:
            processors.append(library.SuppressTokensLogitsProcessor(list(self.suppress_tokens), device=device))
        if self.begin_suppress_tokens:
            first = asked if asked > 1 or self.forced_bos_token_id is None else asked + 1
            begin = list(self.begin_suppress_tokens)
            processors.append(library.SuppressTokensAtBeginLogitsProcessor(begin, first, device=device))
        # As transformers does, whatever the model's own precision is.
        scores = logits.float()[None]
        for process in processors:
            scores = process(before[None], scores)
        return int(scores[0].argmax())


def rules_of(generation: Any, most: int) -> WritingRules:
    """The rules of a model's GenerationConfig.

    Raises:
        UserError: one that is not kept here.
    """
    unknown = [name for name in UNKNOWN if getattr(generation, name, None) not in NEUTRAL]
    if unknown:
        raise UserError(
            f"The model's generation_config.json sets {', '.join(unknown)}, which is not kept here while texts are "
            "written for an evaluation. Remove it there, or write none with train.max_new_tokens=0."
        )
    bad = generation.bad_words_ids or ()
    return WritingRules(
        most=most,
        ends=_several(generation.eos_token_id),
        repetition_penalty=float(generation.repetition_penalty or 1),
        no_repeat_ngram_size=int(generation.no_repeat_ngram_size or 0),
        bad_words_ids=tuple(tuple(words) for words in bad),
        min_length=int(generation.min_length or 0),
        min_new_tokens=int(generation.min_new_tokens or 0),
        forced_bos_token_id=generation.forced_bos_token_id,
        forced_eos_token_id=_several(generation.forced_eos_token_id),
        suppress_tokens=_several(generation.suppress_tokens),
        begin_suppress_tokens=_several(generation.begin_suppress_tokens),
    )


def _several(ids: Any) -> tuple[int, ...]:
    return () if ids is None else tuple(ids) if isinstance(ids, list | tuple) else (int(ids),)
