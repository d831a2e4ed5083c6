"""Inputs of strangers share a pass through the model; one that it fails on must cost only its own request."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Protocol

from pipelines.inference.predictor import num_characters

logger = logging.getLogger(__name__)


class Reader(Protocol):
    """What is served: a Predictor, or in a test something simpler."""

    def predict(self, inputs: Sequence[Any]) -> list[Any]: ...


def predict_each(reader: Reader, inputs: list[Any]) -> list[Any | None]:
    """Predict together; if that fails, one by one. None for an input that fails alone too."""
    try:
        return list(reader.predict(inputs))
    except Exception as error:
        if len(inputs) > 1:
            return [predict_each(reader, [given])[0] for given in inputs]
        # Neither the message nor the traceback: both may quote the text.
        logger.error("The model failed on %d characters: %s.", num_characters(inputs[0]), type(error).__name__)
        return [None]
