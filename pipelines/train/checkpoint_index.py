"""checkpoint.json: what a checkpoint is, and the size and SHA-256 of every file of it, its own included.

    {"format": 2, "step": 400, "facts": {...}, "score": 0.91, "files": {"NAME": {"size": ..., "sha256": ...}, ...},
     "sha256": ...}

The text is the one way to write what it says, and `sha256` is the digest of that text without it: a byte that is
another one anywhere is found.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

INDEX = "checkpoint.json"
FORMAT = 2
BLOCK = 2**20
"""Bytes that are read at once."""
_FILE = re.compile(r"(weights|optimizer)-\d+\.safetensors")


class Damaged(Exception):
    """A checkpoint is not what was written; says why."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What a file is to be."""

    size: int
    """Bytes."""
    sha256: str


@dataclass(frozen=True, slots=True)
class Index:
    step: int
    """Updates of the weights that were done."""
    facts: Mapping[str, Any]
    """What must be the same in the run that goes on from here."""
    files: Mapping[str, Entry]
    """All other files of the checkpoint, by name."""
    score: float | None = None
    """Micro F1 on dev of these weights; None if they were not scored."""


def render(index: Index) -> bytes:
    """The text of an index."""
    body = {
        "format": FORMAT,
        "step": index.step,
        "facts": dict(index.facts),
        "score": index.score,
        "files": {name: asdict(entry) for name, entry in index.files.items()},
    }
    return _signed(body)


def _signed(body: Mapping[str, Any]) -> bytes:
    digest = hashlib.sha256(json.dumps(body).encode()).hexdigest()
    return json.dumps({**body, "sha256": digest}, indent=1).encode()


def read_index(folder: Path) -> Index:
    """The index of the checkpoint `folder`.

    Raises:
        Damaged: it is not there, cannot be read, is of another format, or is not as it was written.
    """
    try:
        text = (folder / INDEX).read_bytes()
    except FileNotFoundError:
        raise Damaged(f"{INDEX} is missing") from None
    except OSError as error:
        raise Damaged(f"its {INDEX} cannot be read ({error.strerror})") from None
    return parse(text)


def parse(text: bytes) -> Index:
    """The index that `render` made `text` of.

    Raises:
        Damaged: nothing of the kind, or not byte for byte.
    """
    try:
        body = json.loads(text)
        if body["format"] != FORMAT:
            raise Damaged(f"it has format {body['format']}, and this version reads {FORMAT}")
        body.pop("sha256")
        if _signed(body) != text:
            raise Damaged(f"its {INDEX} is not what was written")
        files = {name: Entry(**entry) for name, entry in body["files"].items()}
        if strange := [name for name in files if not _FILE.fullmatch(name)]:
            # A copy that is fetched must not write anywhere else.
            raise Damaged(f"its {INDEX} names the file {strange[0]!r}")
        return Index(int(body["step"]), body["facts"], files, body["score"])
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        raise Damaged(f"its {INDEX} is no index of a checkpoint") from None


def check_files(folder: Path, index: Index, *, digests: bool) -> None:
    """Compare the files of a checkpoint with what its index says of them.

    Args:
        digests: read them whole; else only look whether they are there, and how long they are.

    Raises:
        Damaged: names the first file that is missing, has another length, or another byte.
    """
    for name, entry in index.files.items():
        path = folder / name
        try:
            size = path.stat().st_size
            if size != entry.size:
                raise Damaged(f"{name} has {size} bytes of {entry.size}")
            if digests and digest_of(path) != entry.sha256:
                raise Damaged(f"{name} has {size} bytes, but not those that were written")
        except FileNotFoundError:
            raise Damaged(f"{name} is missing") from None
        except OSError as error:
            raise Damaged(f"{name} cannot be read ({error.strerror})") from None


def digest_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()
