"""The audit log: a line of JSON for every request, of who asked for what and what came of it. No text, and no key."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from logging.handlers import WatchedFileHandler
from pathlib import Path

from pipelines.errors import UserError

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Entry:
    """One request. It is filled in as things become known; null is what did not."""

    time: str
    request: str
    """The request's id."""
    trace: str | None = None
    """The id of its trace; null where no traces are made."""
    who: str | None = None
    method: str = ""
    path: str | None = None
    """One of the interface's own: whatever else is asked for may hold what somebody meant to keep to themselves."""
    status: int | None = None
    """None: the client had gone."""
    milliseconds: float = 0.0
    inputs: int | None = None
    characters: int | None = None


_CURRENT: ContextVar[Entry | None] = ContextVar("entry", default=None)


@contextmanager
def entered(entry: Entry) -> Iterator[None]:
    """Let what is noted inside the `with` go to this entry."""
    token = _CURRENT.set(entry)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def note_size(inputs: int, characters: int) -> None:
    """Say how much the request under way asks about."""
    if (entry := _CURRENT.get()) is not None:
        entry.inputs, entry.characters = inputs, characters


def note_caller(who: str) -> None:
    """Say who sent the request under way."""
    if (entry := _CURRENT.get()) is not None:
        entry.who = who


def record(entry: Entry) -> None:
    # Where nobody listens, a line need not be made.
    if logger.isEnabledFor(logging.INFO):
        logger.info("%s", json.dumps(asdict(entry)))


def moment(wall: float) -> str:
    """Seconds since 1970 as `2026-11-27T07:00:00.000Z`."""
    return datetime.fromtimestamp(wall, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def audit_to(path: Path) -> None:
    """Let the log's lines go to a file, and nowhere else; whoever rotates it may rename it meanwhile.

    Every replica of a machine may write to the same file: a line is one write at the file's end.

    Raises:
        UserError: it cannot be written.
    """
    wanted = os.path.abspath(path)
    for handler in logger.handlers:
        if isinstance(handler, WatchedFileHandler) and handler.baseFilename != wanted:
            logger.removeHandler(handler)
            handler.close()
    if not logger.handlers:
        try:
            Path(wanted).parent.mkdir(parents=True, exist_ok=True)
            # For its owner: who asked, and when, is nobody else's business.
            os.close(os.open(wanted, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
            handler = WatchedFileHandler(wanted, encoding="utf-8")
        except OSError as error:
            raise UserError(f"The audit log {path} cannot be written ({error.strerror}): change serve.audit.") from None
        handler.setFormatter(logging.Formatter("%(message)s"))
        logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
