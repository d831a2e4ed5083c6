"""A fine-tuned token classifier that reads raw text and answers with entities and their offsets."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForTokenClassification, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast
from transformers.utils import logging

from pipelines.adapt.adapted import ADAPTER
from pipelines.errors import UserError
from pipelines.inference.entities import Entity, Tagged, join
from pipelines.inference.files import refuse_pickle
from pipelines.inference.words import Punctuation, Word, read_punctuation, split_words

# Most padded sub-words in one pass: enough to fill a CPU's caches, small enough for any memory.
TOKENS_PER_PASS = 4096
# For models that name no limit of their own (relative positions): attention costs the square of this.
LONGEST_WINDOW = 512
_SURROGATES = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class _Window:
    """Words `first .. stop - 1` of text `text`, which the model reads in one piece."""

    text: int
    first: int
    stop: int
    cost: int

    def margin(self, word: int) -> int:
        """How many words of context the window gives `word` on its poorer side."""
        return min(word - self.first, self.stop - 1 - word)


class Predictor:
    """Not for use from several threads at once: tokenizers change their padding state in place."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerFast,
        *,
        punctuation: Punctuation = "separate",
    ) -> None:
        model.eval()
        self._model = model
        self._tokenizer = tokenizer
        self._punctuation = punctuation
        names = {int(i): label for i, label in (model.config.id2label or {}).items()}
        self._labels = [names[i] for i in range(len(names))]
        self._limit = _longest_input(model, tokenizer) - _virtual_tokens(model)

    @classmethod
    def load(cls, folder: Path, *, device: str = "cpu", threads: int) -> Predictor:
        """Read a folder written by `save_pretrained`; `threads` holds for torch in this whole process.

        Raises:
            UserError: no model there, weights that are not safetensors, or no fast tokenizer.
        """
        if not (folder / "config.json").is_file():
            raise UserError(f"{folder} holds no model: a folder written by save_pretrained (config.json) is needed.")
        refuse_pickle(folder)
        torch.set_num_threads(threads)
        with _no_bar():
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, use_fast=True)
            if not isinstance(tokenizer, PreTrainedTokenizerFast):
                raise UserError(f"The tokenizer in {folder} is slow: save a fast one (tokenizer.json) with the model.")
            model = AutoModelForTokenClassification.from_pretrained(folder, local_files_only=True, use_safetensors=True)
            if (folder / ADAPTER).is_dir():
                model = _with_adapter(model, folder / ADAPTER)
        return cls(model.to(device), tokenizer, punctuation=read_punctuation(folder))

    @property
    def labels(self) -> list[str]:
        """The model's labels by their number."""
        return list(self._labels)

    def predict(self, texts: Sequence[str]) -> list[list[Entity]]:
        """The entities of every text, in the order of the texts; an empty text has none."""
        words = [split_words(text, punctuation=self._punctuation) for text in texts]
        windows = [window for i, costs in self._costs(words) for window in self._windows(i, costs)]
        best: list[dict[int, tuple[int, Tagged]]] = [{} for _ in texts]
        for batch in _batches(windows):
            for window, row in zip(batch, self._score(batch, words), strict=True):
                found = best[window.text]
                for word, tagged in row.items():
                    margin = window.margin(word)
                    # Where windows overlap, the one that shows the word with most context decides.
                    if word not in found or margin > found[word][0]:
                        found[word] = (margin, tagged)
        return [
            join(text, [tagged for _, (_, tagged) in sorted(found.items())])
            for text, found in zip(texts, best, strict=True)
        ]

    def _costs(self, words: list[list[Word]]) -> Iterator[tuple[int, list[int]]]:
        """For each text that has words, its number and how many sub-words each of its words becomes."""
        present = [i for i, row in enumerate(words) if row]
        if not present:
            return
        rows = [_clean(words[i]) for i in present]
        encoded = self._tokenizer(rows, is_split_into_words=True, add_special_tokens=False, verbose=False)
        for row, i in enumerate(present):
            costs = [0] * len(words[i])
            for word in encoded.word_ids(row):
                if word is not None:
                    costs[word] += 1
            yield i, costs

    def _windows(self, text: int, costs: list[int]) -> Iterator[_Window]:
        """Cut one text into pieces that fit the model; neighbours share a quarter of a piece."""
        room = self._limit - self._tokenizer.num_special_tokens_to_add(pair=False)
        first = 0
        while True:
            stop, cost = first, 0
            # A word longer than the window stands alone and is truncated: its first sub-word is what counts.
            while stop < len(costs) and (stop == first or cost + costs[stop] <= room):
                cost += costs[stop]
                stop += 1
            yield _Window(text, first, stop, min(cost, room))
            if stop == len(costs):
                return
            shared, last = 0, first
            first = stop
            while first - 1 > last and shared + costs[first - 1] <= room // 4:
                first -= 1
                shared += costs[first]

    def _score(self, batch: list[_Window], words: list[list[Word]]) -> list[dict[int, Tagged]]:
        """One pass through the model: each window's words by their number in their text."""
        encoded = self._tokenizer(
            [_clean(words[window.text][window.first : window.stop]) for window in batch],
            is_split_into_words=True,
            truncation=True,
            max_length=self._limit,
            padding=True,
            return_tensors="pt",
        )
        inputs: dict[str, Any] = {name: tensor.to(self._model.device) for name, tensor in encoded.items()}
        with torch.inference_mode():
            # Prompt tuning puts tokens of its own in front of the input.
            logits = self._model(**inputs).logits[:, -inputs["input_ids"].shape[1] :]
            probabilities = logits.float().softmax(-1)
        scores, labels = (tensor.tolist() for tensor in probabilities.max(-1))
        rows = []
        for i, window in enumerate(batch):
            row: dict[int, Tagged] = {}
            for position, local in enumerate(encoded.word_ids(i)):
                # A word's first sub-word speaks for it, as in training; one without sub-words stays unsaid.
                if local is not None and (word := window.first + local) not in row:
                    span = words[window.text][word]
                    row[word] = Tagged(span.start, span.end, self._labels[labels[i][position]], scores[i][position])
            rows.append(row)
        return rows


def _batches(windows: list[_Window]) -> Iterator[list[_Window]]:
    """Windows of like length together, so that little of a pass is padding."""
    batch: list[_Window] = []
    for window in sorted(windows, key=lambda window: window.cost):
        if batch and (len(batch) + 1) * window.cost > TOKENS_PER_PASS:
            yield batch
            batch = []
        batch.append(window)
    if batch:
        yield batch


def _clean(words: list[Word]) -> list[str]:
    """What the tokenizer gets: half a surrogate pair is not UTF-8, and would be its panic."""
    return [_SURROGATES.sub("\ufffd", word.text) for word in words]


@contextmanager
def _no_bar() -> Iterator[None]:
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _with_adapter(model: PreTrainedModel, folder: Path) -> Any:
    # Imported here: few models have an adapter that cannot be worked into their weights.
    from pipelines.adapt.bottleneck import is_bottleneck, load_bottleneck

    if is_bottleneck(folder):
        return load_bottleneck(model, folder)
    from peft import PeftModel

    return PeftModel.from_pretrained(model, str(folder), use_safetensors=True)


def _virtual_tokens(model: PreTrainedModel) -> int:
    """Positions that an adapter takes."""
    configs = getattr(model, "peft_config", {})
    return sum(getattr(config, "num_virtual_tokens", None) or 0 for config in configs.values())


def _longest_input(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> int:
    limits = [LONGEST_WINDOW, int(min(tokenizer.model_max_length, LONGEST_WINDOW))]
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, torch.nn.Embedding):
            # The RoBERTa family counts positions from behind the padding's own.
            taken = 0 if module.padding_idx is None else module.padding_idx + 1
            limits.append(module.num_embeddings - taken)
    return min(limits)
