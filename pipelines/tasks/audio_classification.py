"""What is heard in a recording: one label."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from pipelines.data.decode_sound import decode
from pipelines.data.examples import IGNORE, Array, Encoded, Sound, floats, ints
from pipelines.data.pack import merge, pack
from pipelines.data.sounds import SOUNDS
from pipelines.errors import UserError
from pipelines.tasks.sequence_classification import SequenceClassification

STEP = 320
"""Samples of what counts as a sub-word: a fiftieth of a second at the usual 16,000 a second, as in wav2vec 2.0."""


class AudioClassification(SequenceClassification):
    """One label a recording; cross entropy. The model's own feature extractor makes its input of the samples.

    A recording of more than `data.max_length` steps of 320 samples (512 make ten seconds), or of more than the
    extractor takes, loses its end. Where the extractor keeps lengths as they are, a micro-batch is padded with zeros,
    and has a mask if the extractor makes one; models that were trained without it hear the padding.
    """

    kind = SOUNDS

    @property
    def auto_class(self) -> Any:
        from transformers import AutoModelForAudioClassification

        return AutoModelForAudioClassification

    def model_options(self, labels: Sequence[str]) -> dict[str, Any]:
        """Many models come with a head for other classes, which makes room for a new one."""
        return super().model_options(labels) | {"ignore_mismatched_sizes": True}

    def load_processor(self, source: str) -> Any:
        from transformers import AutoFeatureExtractor

        from pipelines.model.load import load_extractor

        extractor = load_extractor(source, auto_class=AutoFeatureExtractor, what="feature extractor")
        if not isinstance(getattr(extractor, "sampling_rate", None), int):
            raise UserError(
                f"The feature extractor of {source!r} ({type(extractor).__name__}) takes no sound. Use a model of "
                "sound, such as wav2vec 2.0 or AST."
            )
        return extractor

    def probe(self, processor: Any) -> dict[str, Tensor]:
        noise = np.random.default_rng(0).standard_normal(4000).astype(np.float32) / 10
        rows = [self._encoded(noise[:length], processor, 0, 0) for length in (4000, 3200)]
        return self.inputs(merge([pack(rows, [0, 1])], self.padding(processor)))

    def encode(self, rows: Sequence[Sound], processor: Any, labels: Sequence[str], max_length: int) -> list[Encoded]:
        """Samples [length], or features [frames, size], with their mask where the extractor makes one.

        Raises:
            UserError: a recording that cannot be read.
        """
        number = {label: i for i, label in enumerate(labels)}
        most = min(max_length * STEP, _most(processor))
        examples = []
        for row in rows:
            samples = decode(row, processor.sampling_rate)
            cut = math.ceil(max(0, len(samples) - most) / STEP)
            examples.append(self._encoded(samples[:most], processor, number[row.label], cut))
        return examples

    def _encoded(self, samples: Array, extractor: Any, label: int, cut: int) -> Encoded:
        made = extractor(samples, sampling_rate=extractor.sampling_rate, return_tensors="np")
        values = {name: np.asarray(column[0]) for name, column in made.items()}
        columns = {name: floats(v) if v.dtype.kind == "f" else ints(v) for name, v in values.items()}
        length = math.ceil(columns[extractor.model_input_names[0]].size / STEP)
        return Encoded(columns | {"labels": ints([label])}, length, 1, num_cut=cut)

    def padding(self, processor: Any) -> dict[str, float]:
        silence = dict.fromkeys(processor.model_input_names, 0.0) | {"attention_mask": 0}
        return {**silence, processor.model_input_names[0]: processor.padding_value, "labels": IGNORE}

    def gold(self, row: Sound, encoded: Encoded) -> str:  # noqa: ARG002
        return row.label


def _most(extractor: Any) -> int:
    """Samples behind which an extractor that brings everything to one length would leave out the rest."""
    if (samples := getattr(extractor, "n_samples", None)) is not None:
        return int(samples)
    if (frames := getattr(extractor, "max_length", None)) is not None:
        # A frame is a hundredth of a second, as in Kaldi.
        return int(frames) * int(extractor.sampling_rate) // 100
    return 2**31
