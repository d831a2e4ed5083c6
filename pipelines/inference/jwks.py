"""An issuer's public keys: fetched, kept, and fetched again when one is missing."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx

from pipelines.inference.credentials import Unavailable

logger = logging.getLogger(__name__)

Fetch = Callable[[], Awaitable[bytes]]
"""The JWKS document. Raises OSError if it cannot be had."""

SECONDS_FRESH = 600.0
"""After this long, keys are fetched again: the issuer may have withdrawn one."""
SECONDS_KEPT = 86_400.0
"""After this long without news nobody knows whether they still hold."""
SECONDS_BETWEEN_FETCHES = 30.0
"""Whatever comes, so that tokens with made-up key ids do not make this endpoint a burden for the issuer."""
TIMEOUT = 5.0
MOST_BYTES = 2**20


class Jwks:
    """The keys by their ids. While the issuer cannot be reached, those that were fetched before stay, for a day."""

    def __init__(self, fetch: Fetch, ticks: Callable[[], float] = time.monotonic) -> None:
        self._fetch, self._ticks = fetch, ticks
        self._keys: list[dict[str, Any]] = []
        self._tried = self._fetched = -float("inf")
        self._turn = asyncio.Lock()

    async def find(self, kid: str | None) -> dict[str, Any] | None:
        """The key with this id; without an id the only one there is; None if there is none.

        Raises:
            Unavailable: no keys could be fetched, or none for a day.
        """
        if not self._is_fresh() or self._among(kid) is None:
            async with self._turn:
                # Another request may have fetched them while this one waited for its turn.
                if (not self._is_fresh() or self._among(kid) is None) and self._may_try():
                    await self._refresh()
        if self._ticks() - self._fetched >= SECONDS_KEPT:
            raise Unavailable("its issuer's keys could not be fetched")
        return self._among(kid)

    def _is_fresh(self) -> bool:
        return self._ticks() - self._fetched < SECONDS_FRESH

    def _may_try(self) -> bool:
        return self._ticks() - self._tried >= SECONDS_BETWEEN_FETCHES

    def _among(self, kid: str | None) -> dict[str, Any] | None:
        found = self._keys if kid is None else [key for key in self._keys if key.get("kid") == kid]
        return found[0] if len(found) == 1 else None

    async def _refresh(self) -> None:
        self._tried = self._ticks()
        try:
            keys = parse(await self._fetch())
        except (OSError, ValueError) as error:
            logger.warning("The keys of the tokens' issuer could not be fetched: %s", error)
            return
        self._keys, self._fetched = keys, self._ticks()


def parse(raw: bytes) -> list[dict[str, Any]]:
    """The public keys for signatures in a JWKS document; others in it are left alone.

    Raises:
        ValueError: it is none.
    """
    try:
        keys = json.loads(raw)["keys"]
        return [key for key in keys if key["kty"] in ("RSA", "EC", "OKP") and key.get("use", "sig") == "sig"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ValueError("the document is no JWKS ({'keys': [...]})") from None


def fetch_from(place: str, transport: httpx.AsyncBaseTransport | None = None) -> Fetch:
    """From an https address, or from a file.

    Args:
        transport: how an address is reached; the network when left out.
    """

    async def file() -> bytes:
        return await asyncio.to_thread(Path(place).read_bytes)

    async def address() -> bytes:
        try:
            async with (
                asyncio.timeout(TIMEOUT),
                httpx.AsyncClient(transport=transport) as client,
                client.stream("GET", place) as answer,
            ):
                answer.raise_for_status()
                read = bytearray()
                async for piece in answer.aiter_bytes():
                    read += piece
                    if len(read) > MOST_BYTES:
                        raise OSError(f"{place} sends more than {MOST_BYTES} bytes")
                return bytes(read)
        except TimeoutError:
            raise OSError(f"{place} did not answer in {TIMEOUT:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise OSError(f"{place}: {type(error).__name__} {error}") from None

    return address if "://" in place else file
