"""Checked rows as bytes, to be sent or written down: JSON, and behind it whatever bytes and arrays a row holds."""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.data.examples import (
    Chat,
    Document,
    LabelledText,
    Message,
    Picture,
    Question,
    Sound,
    TaggedSentence,
    Translated,
)

ROWS = {
    kind.__name__: kind
    for kind in (TaggedSentence, LabelledText, Question, Document, Message, Chat, Translated, Picture, Sound)
}
HEAD = 4
"""Bytes that say how long the JSON is."""


def to_bytes(row: Any) -> bytes:
    """A row of any kind; `from_bytes` makes an equal one of it."""
    parts: list[bytes] = []
    tree = _tree(row, parts)
    head = json.dumps([tree, [len(part) for part in parts]], separators=(",", ":")).encode()
    return b"".join([len(head).to_bytes(HEAD, "little"), head, *parts])


def from_bytes(raw: bytes) -> Any:
    """The row that `to_bytes` was given."""
    at = HEAD + int.from_bytes(raw[:HEAD], "little")
    tree, lengths = json.loads(raw[HEAD:at])
    parts = []
    for length in lengths:
        parts.append(raw[at : at + length])
        at += length
    return _row(tree, parts)


def _tree(value: Any, parts: list[bytes]) -> Any:
    if is_dataclass(value):
        return {"row": type(value).__name__, "of": [_tree(getattr(value, f.name), parts) for f in fields(value)]}
    if isinstance(value, tuple):
        return [_tree(one, parts) for one in value]
    if isinstance(value, Path):
        return {"path": str(value)}
    if isinstance(value, bytes):
        parts.append(value)
        return {"bytes": len(parts) - 1}
    if isinstance(value, np.ndarray):
        parts.append(value.tobytes())
        return {"array": len(parts) - 1, "dtype": value.dtype.str, "shape": value.shape}
    assert value is None or isinstance(value, str | int | float), type(value)
    return value


def _row(tree: Any, parts: list[bytes]) -> Any:
    if isinstance(tree, list):
        return tuple(_row(one, parts) for one in tree)
    if not isinstance(tree, dict):
        return tree
    if "path" in tree:
        return Path(tree["path"])
    if "bytes" in tree:
        return parts[tree["bytes"]]
    if "array" in tree:
        return np.frombuffer(parts[tree["array"]], tree["dtype"]).reshape(tree["shape"])
    return ROWS[tree["row"]](*(_row(one, parts) for one in tree["of"]))
