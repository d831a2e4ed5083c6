"""Write what a run found out to a file that is either complete or not there."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path


def write_json(path: str | os.PathLike[str], obj: object) -> None:
    """Write `obj` as indented JSON; a reader, or a crash, never meets half a file.

    JSON knows no NaN and no infinity: they become null, so that a run that diverged still has its summary.

    Raises:
        TypeError: something in `obj` is not a dict, list, tuple, text, number, bool or None. The file stays as it was.
        OSError: the folder cannot be made or written.
    """
    write_whole(Path(path), json.dumps(_finite(obj), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_whole(path: Path, text: str, *, mode: int | None = None) -> None:
    """Write a text file, on the disk when this returns; a reader, or a crash, never meets half of it.

    Args:
        mode: the file's permissions, such as 0o600; the process's usual ones when left out.

    Raises:
        OSError: the folder cannot be made or written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Beside the target, because a rename is atomic only within one file system.
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with beside.open("w", encoding="utf-8") as file:
            if mode is not None:
                # Before there is anything in it to read.
                os.fchmod(file.fileno(), mode)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
        sync(path.parent)
    finally:
        beside.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Wait until a file or a folder's names are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _finite(obj: object) -> object:
    if isinstance(obj, float):
        return obj if math.isfinite(obj) else None
    if isinstance(obj, dict):
        return {key: _finite(value) for key, value in obj.items()}
    if isinstance(obj, (list, tuple)):
        return [_finite(value) for value in obj]
    return obj
