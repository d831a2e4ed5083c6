"""Tokens in place of personal data: `[EMAIL]`, or `[EMAIL:...]`, which whoever has the key can read."""

from __future__ import annotations

import base64
import binascii
import re
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from pipelines.errors import UserError

KEY_BYTES = 64
"""AES-256-SIV (RFC 5297) takes two keys of 32 bytes in one."""
SEALED = re.compile(r"\[([A-Z][A-Z0-9-]*):([A-Za-z0-9_-]+)\]")
"""A token that can be read with the key."""
_HOW = f"{KEY_BYTES} random bytes in base64url are needed, as `python -m jobs.mask --new-key` prints them"


def new_key() -> str:
    """A key for `read_key`."""
    return base64.urlsafe_b64encode(secrets.token_bytes(KEY_BYTES)).decode().rstrip("=")


def read_key(text: str) -> bytes:
    """The key's bytes.

    Raises:
        UserError: not a key; the message does not repeat it.
    """
    try:
        key = _decode(text.strip())
    except (binascii.Error, ValueError):
        raise UserError(f"The key for masked data is not base64url: {_HOW}.") from None
    if len(key) != KEY_BYTES:
        raise UserError(f"The key for masked data has {len(key)} bytes: {_HOW}.")
    return key


def label(kind: str) -> str:
    """The token that nobody can read: `[ID-CN]`."""
    return f"[{kind.upper()}]"


def seal(kind: str, value: str, key: bytes) -> str:
    """The token for a value, which is not empty. The same value of a kind always has the same token.

    That is what AES-SIV is for: encryption that is authenticated and needs no random number. Who reads masked texts
    sees that the same person stands in two of them, and still counts, joins and trains on them; it also means that
    equal values are seen to be equal. The kind is authenticated with the value.
    """
    # Half of a surrogate pair is no character, and still must not stop a log.
    sealed = AESSIV(key).encrypt(value.encode("utf-8", "surrogatepass"), [kind.encode()])
    return f"[{kind.upper()}:{base64.urlsafe_b64encode(sealed).decode().rstrip('=')}]"


def unseal(kind: str, sealed: str, key: bytes) -> str:
    """The value of a token `[KIND:SEALED]`.

    Raises:
        UserError: another key, or a token that was changed.
    """
    try:
        return AESSIV(key).decrypt(_decode(sealed), [kind.lower().encode()]).decode("utf-8", "surrogatepass")
    except (InvalidTag, binascii.Error, ValueError):
        raise UserError(
            f"A token of kind {kind} does not open with this key: it was changed, or made with another key. Unmask the "
            "text as it was masked, with the key that masked it."
        ) from None


def _decode(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
