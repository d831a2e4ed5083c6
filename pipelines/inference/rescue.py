"""Texts of strangers share a pass through the model; one that it fails on must cost only its own request."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Protocol

from pipelines.inference.entities import Entity

logger = logging.getLogger(__name__)


class Reader(Protocol):
    """What is served: a Predictor, or in a test something simpler."""

    def predict(self, texts: Sequence[str]) -> list[list[Entity]]: ...


def predict_each(reader: Reader, texts: list[str]) -> list[list[Entity] | None]:
    """Predict together; if that fails, one by one. None for a text that fails alone too."""
    try:
        return list(reader.predict(texts))
    except Exception as error:
        if len(texts) > 1:
            return [predict_each(reader, [text])[0] for text in texts]
        # Neither the message nor the traceback: both may quote the text.
        logger.error("The model failed on a text of %d characters: %s.", len(texts[0]), type(error).__name__)
        return [None]
