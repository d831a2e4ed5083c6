"""The names that the three splits go by."""

from __future__ import annotations

from collections.abc import Iterable

from pipelines.errors import UserError

NAMES = {"train": ("train",), "dev": ("dev", "validation", "valid", "val"), "test": ("test",)}


def find_split(there: Iterable[str], split: str, *, place: str) -> str | None:
    """The name among those there that means `split`.

    Raises:
        UserError: several do, so that which is meant is unknown.
    """
    found = [name for name in there if name in NAMES[split]]
    if len(found) > 1:
        raise UserError(
            f"{place} has more than one {split} split: {', '.join(found)}. Keep one, or name the one that is meant "
            f"with data.{split}."
        )
    return found[0] if found else None
