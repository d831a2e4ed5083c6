"""What the configuration says of an adapter."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from pipelines.section import Section


def _plain(value: object) -> object:
    """Refuse what JSON cannot say: the configuration is written as it, and reads back as it was."""
    if isinstance(value, dict):
        for name, part in value.items():
            if not isinstance(name, str):
                raise PydanticCustomError("plain", f"the name {name!r} is not text; put it in quotes")
            _plain(part)
    elif isinstance(value, list):
        for part in value:
            _plain(part)
    elif not (value is None or isinstance(value, (str, int)) or (isinstance(value, float) and math.isfinite(value))):
        kind = type(value).__name__
        raise PydanticCustomError("plain", f"{value!r} ({kind}) should be a text, a finite number, true, false or null")
    return value


class AdapterConfig(Section):
    method: str
    """lora, adalora, ia3, prefix-tuning, prompt-tuning or bottleneck; see pipelines/adapt/methods.py."""
    options: Annotated[dict[str, Any], BeforeValidator(_plain)] = Field(default_factory=dict)
    """Fields of its configuration, which is PEFT's, for example `r`, `lora_alpha`, `use_dora`, `target_modules`."""
