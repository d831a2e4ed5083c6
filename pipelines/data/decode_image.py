"""From a file of an image to its pixels."""

from __future__ import annotations

import io
import struct
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.data.examples import Picture
from pipelines.errors import UserError

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
"""Of Pillow's those that only hold pixels: others would start programs, or read other files."""

_DAMAGE = (OSError, ValueError, SyntaxError, LookupError, TypeError, AttributeError, ArithmeticError, EOFError,
           RuntimeError, NotImplementedError, MemoryError, struct.error)  # fmt: skip
"""Whatever Pillow meets where it takes damaged bytes for an image."""


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
