"""Images and what they show."""

from __future__ import annotations

import io
import json
import struct
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.config import DataConfig
from pipelines.data.attached import attached
from pipelines.data.examples import Array, Picture
from pipelines.data.fields import Field
from pipelines.data.kind import ExampleKind
from pipelines.data.labelled import label_of
from pipelines.data.rows import Record, quote
from pipelines.errors import UserError

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
"""Of Pillow's those that only hold pixels: others would start programs, or read other files."""

_DAMAGE = (OSError, ValueError, SyntaxError, LookupError, TypeError, AttributeError, ArithmeticError, EOFError,
           RuntimeError, NotImplementedError, MemoryError, struct.error)  # fmt: skip
"""Whatever Pillow meets where it takes damaged bytes for an image."""


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


def decode(picture: Picture) -> Image:
    """The image in red, green and blue, the way up that its camera was held.

    Raises:
        UserError: it cannot be read, or has more pixels than Pillow takes for an image that means well.
    """
    from PIL import Image, ImageOps

    source: Any = picture.source
    if isinstance(source, np.ndarray):
        return Image.fromarray(source).convert("RGB")
    named = f"{picture.place}, {source.name}" if isinstance(source, Path) else picture.place
    try:
        with warnings.catch_warnings():
            # Of many more pixels than a photograph has, Pillow only warns.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            warnings.simplefilter("ignore", UserWarning)
            with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=FORMATS) as image:
                return ImageOps.exif_transpose(image).convert("RGB")
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise UserError(
            f"{named}: the image has more than {Image.MAX_IMAGE_PIXELS} pixels. Make it smaller, or remove the row."
        ) from None
    except _DAMAGE as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(
            f"{named}: the image cannot be read ({reason}). Formats are {', '.join(FORMATS)}: save it anew, or remove "
            "the row."
        ) from None


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
