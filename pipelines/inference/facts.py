"""What a model's folder says of itself, beside what transformers writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pipelines.errors import UserError

FILE = "task.json"
"""What the model was trained for, and what of its data whoever uses it must know."""


def read_facts(folder: Path) -> dict[str, Any]:
    """What `task.json` says; nothing where a model has none.

    Raises:
        UserError: it is not a JSON object.
    """
    path = folder / FILE
    if not path.is_file():
        return {}
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        facts = None
    if not isinstance(facts, dict):
        raise UserError(f"{path} is not a JSON object: write it as jobs.train does, or remove it.")
    return facts
