"""Whom the endpoint answers, as the configuration says it, and the door that is made of it in each replica."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipelines.inference.audit import audit_to
from pipelines.inference.credentials import Credentials, SingleKey
from pipelines.inference.guard import Door
from pipelines.inference.jwks import Jwks, fetch_from
from pipelines.inference.key_store import KeyStore
from pipelines.inference.limits import Ask, Buckets, Leases
from pipelines.inference.rate import Rate
from pipelines.inference.tokens import Tokens
from pipelines.serve_settings import JwtConfig, ServeConfig


@dataclass(frozen=True, slots=True)
class Access:
    """What a replica is told, besides the single key's hash."""

    keys: str | None = None
    """The file of keys."""
    jwt: JwtConfig | None = None
    rate: Rate | None = None
    cors: tuple[str, ...] = ()
    tls: bool = False
    audit: str | None = None

    @classmethod
    def of(cls, settings: ServeConfig) -> Access:
        """Files get their whole paths: a replica works in a folder of its own."""
        jwt = settings.jwt
        if jwt is not None and "://" not in jwt.jwks:
            jwt = jwt.model_copy(update={"jwks": _whole(jwt.jwks)})
        return cls(
            keys=_whole(settings.keys) if settings.keys else None,
            jwt=jwt,
            rate=Rate.parse(settings.rate) if settings.rate else None,
            cors=settings.cors,
            tls=settings.tls is not None,
            audit=_whole(settings.audit) if settings.audit else None,
        )

    @property
    def counts(self) -> bool:
        """Whether there may be callers with a rate: the keys of a file may each have one."""
        return self.rate is not None or self.keys is not None

    def door(self, key_sha256: str | None, ask: Ask | None = None) -> Door:
        """Make what checks, counts and writes down.

        Args:
            key_sha256: of the single key, if that is a way in.
            ask: where requests are counted; in this process alone when left out.

        Raises:
            UserError: the key file cannot be used, or the audit log cannot be written.
        """
        if self.audit is not None:
            audit_to(Path(self.audit))
        ways: list[Credentials] = []
        if self.keys is not None:
            ways.append(KeyStore(Path(self.keys), self.rate))
        if self.jwt is not None:
            ways.append(Tokens(self.jwt, Jwks(fetch_from(self.jwt.jwks)), self.rate))
        if key_sha256 is not None:
            # The last one: it takes whatever comes.
            ways.append(SingleKey(key_sha256, self.rate))
        return Door(tuple(ways), Leases(ask or Buckets().ask), self.cors, self.tls)


def _whole(path: str) -> str:
    return str(Path(path).expanduser().absolute())
