"""Write a data set's files."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from pipelines.errors import UserError


def write_all(folder: Path, files: Mapping[str, bytes]) -> None:
    """All files or none: a new folder appears whole; in one that exists each file is replaced whole.

    Args:
        files: by name within the folder, with or without a folder of their own there.

    Raises:
        UserError: the folder cannot be written.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as beside:
            new = Path(beside) / "new"
            for name, content in files.items():
                (new / name).parent.mkdir(parents=True, exist_ok=True)
                (new / name).write_bytes(content)
            if not folder.exists():
                new.rename(folder)
                return
            for name in files:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (new / name).replace(folder / name)
    except OSError as error:
        raise UserError(f"{folder} cannot be written: {error.strerror}. Give another folder.") from None
