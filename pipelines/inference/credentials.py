"""Who asks, and what they may: the seam of which a single key, a file of keys and signed tokens are members."""

from __future__ import annotations

import hmac
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal, get_args

from pipelines.inference.rate import Rate

Right = Literal["predict", "explain", "metrics", "admin"]
"""What a scope may be. None contains another."""
SCOPES: tuple[Right, ...] = get_args(Right)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, once that is proven."""

    who: str
    """`key`, `key:ID` or `token:SUBJECT`: for counts and the audit log. Never a secret."""
    scopes: frozenset[str]
    rate: Rate | None = None


class Refused(Exception):
    """The credential does not do: says, in a sentence, what may be told to whoever sent it."""


class Unavailable(Exception):
    """Nobody can be let in just now, and it is not the caller's fault: says why, in half a sentence."""


class Credentials(ABC):
    """One way to prove who asks."""

    @abstractmethod
    def claims(self, text: str) -> bool:
        """Whether a credential looks like one of these, so that it is for this member to check."""

    @abstractmethod
    async def caller(self, text: str) -> Caller:
        """Check it.

        Raises:
            Refused: it is wrong, or no longer right.
            Unavailable: it cannot be checked now.
        """


HOW = "Send the endpoint's key as the header Authorization: Bearer KEY."
WRONG = f"{HOW} The one that came is not known here."
"""Not whether the id was right, or how far the secret was."""


def hash_key(key: str) -> str:
    """What a deployment is given, and keeps, in the key's place.

    A plain SHA-256: slow hashes protect what people think up and others can guess, and a key is 256 random bits. Who
    chooses the single key (MOTLEY_API_KEY) should choose it like that.
    """
    return sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def same_hash(one: str, other: str) -> bool:
    """Compare in a time that tells nothing of where they differ."""
    return hmac.compare_digest(one.encode(), other.encode())


class SingleKey(Credentials):
    """The simplest form: one key, which may do everything."""

    def __init__(self, key_sha256: str, rate: Rate | None) -> None:
        self._key_sha256, self._caller = key_sha256, Caller("key", frozenset(SCOPES), rate)

    def claims(self, text: str) -> bool:  # noqa: ARG002
        return True

    async def caller(self, text: str) -> Caller:
        if not same_hash(hash_key(text), self._key_sha256):
            raise Refused(WRONG)
        return self._caller


async def who_is(text: str, known: Sequence[Credentials]) -> Caller:
    """Let the first of `known` that claims the credential check it.

    Raises:
        Refused: none does, or it is wrong.
        Unavailable: it cannot be checked now.
    """
    for credentials in known:
        if credentials.claims(text):
            return await credentials.caller(text)
    raise Refused(WRONG)
