"""The keys of a file as credentials. The file is read again when it changes: a revoked key soon opens nothing."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from pipelines.errors import UserError
from pipelines.inference.credentials import WRONG, Caller, Credentials, Refused, Unavailable, hash_key, same_hash
from pipelines.inference.keys import PREFIX, Key, id_of, read_keys
from pipelines.inference.rate import Rate

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_LOOKS = 1.0
NOBODY = "0" * 64


class KeyStore(Credentials):
    """Looks at the file at most once a second, and only when somebody asks.

    Of a file that cannot be read any more nobody knows which keys were revoked: until it can be, none opens.
    """

    def __init__(
        self,
        path: Path,
        rate: Rate | None,
        *,
        wall: Callable[[], float] = time.time,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read the file.

        Args:
            rate: of keys that have none of their own.
            wall: seconds since 1970, which keys expire by.
            ticks: seconds of a clock that does not go back.

        Raises:
            UserError: as `read_keys`.
        """
        self._path, self._rate, self._wall, self._ticks = path, rate, wall, ticks
        self._looked, self._seen = ticks(), _stamp(path)
        self._keys: dict[str, Key] | None = read_keys(path)

    def claims(self, text: str) -> bool:
        return text.startswith(f"{PREFIX}_")

    async def caller(self, text: str) -> Caller:
        keys = self._fresh()
        if keys is None:
            raise Unavailable("its keys cannot be read")
        key = keys.get(id_of(text) or "")
        # Also where there is no such id, so that the time tells nothing of which ids there are.
        right = same_hash(hash_key(text), key.sha256 if key else NOBODY)
        if key is None or not right:
            raise Refused(WRONG)
        if key.is_expired(datetime.fromtimestamp(self._wall(), UTC)):
            # Whoever holds the secret may know.
            raise Refused(f"The key {key.id} has expired; ask for a new one.")
        rate = Rate.parse(key.rate) if key.rate else self._rate
        return Caller(f"key:{key.id}", frozenset(key.scopes), rate)

    def _fresh(self) -> dict[str, Key] | None:
        now = self._ticks()
        if now - self._looked >= SECONDS_BETWEEN_LOOKS:
            self._looked = now
            # Before reading, so that what is written meanwhile is seen the next time.
            stamp = _stamp(self._path)
            if stamp != self._seen:
                self._seen = stamp
                self._read()
        return self._keys

    def _read(self) -> None:
        try:
            self._keys = read_keys(self._path)
        except UserError as error:
            self._keys = None
            logger.error("No key opens until this is mended: %s", error)


def _stamp(path: Path) -> tuple[int, ...] | None:
    """What changes with the file; None without one."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return (found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size)
