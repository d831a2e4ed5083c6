"""Nested values with every string changed: an answer of a model, or what a log record carries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from typing import Any


def each_string(value: Any, change: Callable[[str], str]) -> Any:
    """The same value, of the same types, with `change` made to all strings in it; keys of dicts stay as they are."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {key: each_string(inner, change) for key, inner in value.items()}
    if isinstance(value, (list, tuple)) and type(value) in (list, tuple):
        return type(value)(each_string(inner, change) for inner in value)
    if is_dataclass(value) and not isinstance(value, type):
        given = [field.name for field in fields(value) if field.init]
        return replace(value, **{name: each_string(getattr(value, name), change) for name in given})
    return value
