"""Inputs of strangers share a pass through the model; one that it fails on must cost only its own request."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

logger = logging.getLogger(__name__)

Given = TypeVar("Given")


def each(
    together: Callable[[Sequence[Given]], list[Any]], inputs: Sequence[Given], size: Callable[[Given], int]
) -> list[Any | None]:
    """What is found for all inputs at once; if that fails, one by one. None for an input that fails alone too.

    Args:
        size: characters of an input, for the log.
    """
    try:
        return list(together(inputs))
    except Exception as error:
        if len(inputs) > 1:
            return [each(together, [given], size)[0] for given in inputs]
        # Neither the message nor the traceback: both may quote the text.
        logger.error("The model failed on %d characters: %s.", size(inputs[0]), type(error).__name__)
        return [None]
