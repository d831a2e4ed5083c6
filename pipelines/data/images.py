"""Images and what they show."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from pipelines.config import DataConfig
from pipelines.data.attached import attached
from pipelines.data.examples import Array, Picture
from pipelines.data.fields import Field
from pipelines.data.kind import ExampleKind
from pipelines.data.labelled import label_of
from pipelines.data.rows import Record, quote
from pipelines.errors import UserError


class Images(ExampleKind):
    """An image, as a file or as pixels, and one label."""

    fields = (
        Field("image", "the images", ("image", "img", "pixels", "file", "file_name", "path")),
        Field("label", "the labels", ("label", "labels", "category", "class")),
    )

    needed = "image with its label"

    def row(self, record: Record, data: DataConfig) -> Picture:  # noqa: ARG002
        """An image with its label. Whether a file is an image is seen when it is decoded.

        Raises:
            UserError: an image that is missing, or outside of the data file's folder, or a label that is none.
        """
        return Picture(_source(record), label_of(record, record.values["label"]), record.place)

    def labels_of(self, row: Picture) -> tuple[str, ...]:
        return (row.label,)


def _source(record: Record) -> Path | bytes | Array:
    found = record.values["image"]
    if record.written and isinstance(found, str) and found.lstrip().startswith("["):
        try:
            found = json.loads(found)
        except (ValueError, RecursionError):
            found = []
    return _pixels(record, found) if isinstance(found, list | tuple) else attached(record, "image", "an image")


def _pixels(record: Record, found: object) -> Array:
    try:
        values = np.asarray(found, np.float64)
        fits = values.ndim == 2 or (values.ndim == 3 and values.shape[2] in (3, 4))
        fits = fits and values.size > 0 and bool(((values >= 0) & (values <= 255) & (values.round() == values)).all())
    except (ValueError, TypeError, OverflowError, RecursionError):  # rows of unlike lengths, or no numbers
        fits = False
    if not fits:
        raise UserError(
            f"{record.place}: the image is the list {quote(found)}, which is no image. Pixels are whole numbers from 0 "
            "to 255: a list of rows of as many numbers each (grey), or of as many lists of 3 (red, green, blue)."
        )
    return values.astype(np.uint8)


IMAGES = Images()
