"""Why a token classifier takes some words for an entity."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from pipelines.errors import UserError
from pipelines.inference.entities import Tagged, join
from pipelines.inference.explain import Explainer, Read, Score
from pipelines.inference.predictor import readable
from pipelines.inference.words import Punctuation, split_words


class EntityExplainer(Explainer):
    """The score is the entity's own: the mean probability of its words' labels."""

    def __init__(
        self,
        model: nn.Module,
        tokenizer: PreTrainedTokenizerFast,
        labels: list[str],
        *,
        punctuation: Punctuation,
    ) -> None:
        super().__init__(model, tokenizer)
        self._labels, self._punctuation = labels, punctuation

    def _read(self, given: Any) -> Read:
        words = split_words(given.text, punctuation=self._punctuation)
        found = self._tokenizer(
            [[readable(word.text) for word in words]], is_split_into_words=True, return_offsets_mapping=True,
            return_tensors="pt", verbose=False,
        )  # fmt: skip
        spans = found.pop("offset_mapping")[0].tolist()
        places: list[tuple[str, int, int] | None] = []
        for number, (start, end) in zip(found.word_ids(0), spans, strict=True):
            # Offsets count from the word's beginning.
            at = 0 if number is None else words[number].start
            places.append(None if number is None else ("text", at + start, at + end))
        row = {name: one.to(self._model.device) for name, one in found.items()}
        return Read(row, places, found.word_ids(0))

    def _target(self, given: Any, read: Read, logits: Tensor, target: str | int | None) -> tuple[str, Score]:
        if isinstance(target, str):
            raise UserError("Name the entity by its number in the order of the text, from 0.")
        words = split_words(given.text, punctuation=self._punctuation)
        # A word's first sub-word speaks for it, as in the predictor.
        firsts = {word: at for at, word in reversed(list(enumerate(read.words))) if word is not None}
        scores, labels = self._probabilities(logits, read)[0].max(-1)
        tagged = [
            Tagged(words[word].start, words[word].end, self._labels[int(labels[at])], float(scores[at]))
            for word, at in sorted(firsts.items())
        ]
        entities = join(given.text, tagged)
        if not (chosen := entities[target or 0 : (target or 0) + 1]):
            raise UserError(f"There is no entity {target or 0} in the text; it has {len(entities)}, counted from 0.")
        [entity] = chosen
        inside = [at for word, at in sorted(firsts.items()) if entity.start <= words[word].start < entity.end]
        said = labels[inside].tolist()
        return entity.type, lambda logits: self._probabilities(logits, read)[:, inside, said].mean(-1)

    def _probabilities(self, logits: Tensor, read: Read) -> Tensor:
        # Prompt tuning puts tokens of its own in front of the input.
        return logits[:, -len(read.places) :].softmax(-1)
