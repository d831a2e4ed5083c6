"""What an image shows: one label."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipelines.data.decode_image import decode
from pipelines.data.examples import IGNORE, Encoded, Picture, floats, ints
from pipelines.data.images import IMAGES
from pipelines.errors import UserError
from pipelines.tasks.sequence_classification import SequenceClassification

SQUARE = 16
"""Pixels of each side of what counts as a sub-word, as patches mostly are."""


class ImageClassification(SequenceClassification):
    """One label an image; cross entropy. The model's own processor brings images to their size.

    An image costs as many sub-words as it has squares of 16 by 16 pixels then; `data.max_length` cuts none of them.
    The data shards hold all images as the model reads them, 4 bytes a value; with `data.memory`, on disk.
    """

    kind = IMAGES

    @property
    def auto_class(self) -> Any:
        from transformers import AutoModelForImageClassification

        return AutoModelForImageClassification

    def model_options(self, labels: Sequence[str]) -> dict[str, Any]:
        """Most models come with a head for other classes, which makes room for a new one."""
        return super().model_options(labels) | {"ignore_mismatched_sizes": True}

    def load_processor(self, source: str) -> Any:
        from transformers import AutoImageProcessor

        from pipelines.model.load import load_extractor

        # By name: which one is taken must not depend on what else is installed.
        return load_extractor(source, auto_class=AutoImageProcessor, what="image processor", backend="pil")

    def probe(self, processor: Any) -> dict[str, Tensor]:
        values = np.arange(2 * 32 * 32 * 3, dtype=np.uint32).reshape(2, 32, 32, 3) % 251
        pictures = [Picture(image.astype(np.uint8), "", "a probe") for image in values]
        columns = [self._columns(picture, processor) for picture in pictures]
        return {name: torch.from_numpy(np.stack([column[name] for column in columns])) for name in columns[0]}

    def encode(
        self,
        rows: Sequence[Picture],
        processor: Any,
        labels: Sequence[str],
        max_length: int,  # noqa: ARG002
    ) -> list[Encoded]:
        """Pixels [channels, height, width], or what else the processor makes of an image.

        Raises:
            UserError: an image that cannot be read, or images of several sizes.
        """
        number = {label: i for i, label in enumerate(labels)}
        main, examples = str(processor.model_input_names[0]), list[Encoded]()
        for row in rows:
            columns = self._columns(row, processor)
            if examples and columns[main].shape != examples[0].columns[main].shape:
                raise UserError(
                    f"{row.place}: the model's image processor makes {list(columns[main].shape)} of this image and "
                    f"{list(examples[0].columns[main].shape)} of others, which cannot be in one micro-batch. Bring all "
                    "images to one size, or use a model whose processor does."
                )
            *_, height, width = columns[main].shape
            # Where the processor cuts patches itself, [patches, values].
            squares = height if columns[main].ndim == 2 else math.ceil(height * width / SQUARE**2)
            examples.append(Encoded(columns | {"labels": ints([number[row.label]])}, squares, 1))
        return examples

    def _columns(self, row: Picture, processor: Any) -> dict[str, Any]:
        image = decode(row)
        try:
            made = processor(images=[image], return_tensors="np")
        except (ValueError, TypeError, ArithmeticError) as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(
                f"{row.place}: the model's image processor does not take this image of {image.width} by {image.height} "
                f"pixels ({reason}). Remove the row, or bring the image to another size."
            ) from None
        values = {name: np.asarray(column[0]) for name, column in made.items()}
        return {name: floats(value) if value.dtype.kind == "f" else ints(value) for name, value in values.items()}

    def padding(self, processor: Any) -> dict[str, float]:
        """All images are of one size, and none is padded."""
        return {**dict.fromkeys(processor.model_input_names, 0.0), "labels": IGNORE}

    def gold(self, row: Picture, encoded: Encoded) -> str:  # noqa: ARG002
        return row.label
