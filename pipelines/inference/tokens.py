"""Tokens (JWT) of an identity provider as credentials. PyJWT checks the signatures."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import jwt

from pipelines.inference.credentials import WRONG, Caller, Credentials, Refused
from pipelines.inference.jwks import Jwks
from pipelines.inference.rate import Rate
from pipelines.serve_settings import JwtConfig

MOST_CHARACTERS = 16_384
"""Of a token. Servers take no longer a header."""
LONGEST_SUBJECT = 256


class Tokens(Credentials):
    def __init__(
        self, settings: JwtConfig, jwks: Jwks, rate: Rate | None, *, wall: Callable[[], float] = time.time
    ) -> None:
        """Accept tokens as `settings` say.

        Args:
            rate: how often each subject may ask.
            wall: seconds since 1970.
        """
        self._settings, self._jwks, self._rate, self._wall = settings, jwks, rate, wall

    def claims(self, text: str) -> bool:
        return text.count(".") == 2

    async def caller(self, text: str) -> Caller:
        payload = await self._payload(text)
        self._check_times(payload)
        who = payload.get(self._settings.subject_claim)
        if not isinstance(who, str) or not 0 < len(who) <= LONGEST_SUBJECT:
            raise Refused(f"The token's claim {self._settings.subject_claim!r} names nobody; ask its issuer.")
        return Caller(f"token:{who}", _words(payload.get(self._settings.scope_claim)), self._rate)

    async def _payload(self, text: str) -> Mapping[str, Any]:
        """What a token says whose signature is right."""
        if len(text) > MOST_CHARACTERS:
            raise Refused(WRONG)
        try:
            header = jwt.get_unverified_header(text)
            # Only what the config names: a token must not choose how it is checked.
            algorithm = header.get("alg")
            if algorithm not in self._settings.algorithms:
                raise Refused(WRONG)
            found = await self._jwks.find(header.get("kid"))
            if found is None or found.get("alg", algorithm) != algorithm:
                raise Refused(WRONG)
            return jwt.decode(
                text,
                jwt.PyJWK(found, algorithm),
                algorithms=[algorithm],
                audience=self._settings.audience,
                issuer=self._settings.issuer,
                options={
                    "require": ["exp", "iss", "aud"],
                    "enforce_minimum_key_length": True,
                    # Times are checked here, by a clock that can be given.
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                },
            )
        except (jwt.InvalidAudienceError, jwt.InvalidIssuerError):
            # The signature is right: whoever holds the token can read in it what it is for.
            raise Refused(
                "The token is for another audience or of another issuer; get one for this endpoint."
            ) from None
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            raise Refused(WRONG) from None

    def _check_times(self, payload: Mapping[str, Any]) -> None:
        now, leeway = self._wall(), self._settings.leeway
        if _seconds(payload["exp"]) <= now - leeway:
            raise Refused("The token has expired; get a new one from its issuer.")
        if "nbf" in payload and _seconds(payload["nbf"]) > now + leeway:
            raise Refused("The token is not valid yet; compare the clocks.")


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise Refused("A time in the token is no number; ask its issuer.")
    return value


def _words(value: object) -> frozenset[str]:
    if isinstance(value, str):
        return frozenset(value.split())
    return frozenset(word for word in value if isinstance(word, str)) if isinstance(value, list) else frozenset()
