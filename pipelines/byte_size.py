"""How much memory, as people write it: `64MB`, `1.5 GiB`, or a number of bytes."""

from __future__ import annotations

import re

from pydantic_core import PydanticCustomError

UNITS = {"": 1, "B": 1} | {
    f"{letter}{ending}": base**power
    for power, letter in enumerate("KMGT", 1)
    for ending, base in (("B", 1000), ("iB", 1024))
}
_WRITTEN = re.compile(r"(\d{1,15}(?:\.\d{1,15})?) ?([A-Za-z]*)")
LARGEST = 2**53


def byte_size(value: object, *, least: int) -> object:
    """What was written as a number of bytes; None as it is.

    Raises:
        PydanticCustomError: it is no size, or one that is too small.
    """
    if value is None:
        return value
    size: float | None = None
    if isinstance(value, int) and not isinstance(value, bool):
        size = value
    elif isinstance(value, str) and (written := _WRITTEN.fullmatch(value.strip())):
        unit = {name.lower(): factor for name, factor in UNITS.items()}.get(written[2].lower())
        size = None if unit is None else float(written[1]) * unit
    if size is None or size > LARGEST:
        raise PydanticCustomError("byte_size", "give a size such as 64MB, 1.5GiB, or a number of bytes")
    if size < least:
        raise PydanticCustomError("byte_size", f"at least {least // 10**6}MB are needed")
    return int(size)
