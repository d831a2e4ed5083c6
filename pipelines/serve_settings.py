"""What the configuration says of the endpoint: where it listens, whom it answers, and how much at once."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from pipelines.inference.rate import Rate
from pipelines.section import Section
from pipelines.workers_settings import WorkersConfig

SIGNATURES = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""With these, who can check a token cannot make one."""


def _signature(name: str) -> str:
    if name not in SIGNATURES:
        why = f"there is no signature {name[:20]!r} here"
        if name.lower() == "none":
            why = "a token with the signature none is not signed at all"
        elif name.startswith("HS"):
            why = f"whoever can check a token signed by {name[:20]} could make one"
        known = ", ".join(SIGNATURES)
        raise PydanticCustomError("signature", "{why}; name some of {known}", {"why": why, "known": known})
    return name


def _https_or_file(place: str) -> str:
    if "://" in place and not place.startswith("https://"):
        raise PydanticCustomError("jwks", "keys that come over a line must come by https://; else give a file")
    return place


def _origin(origin: str) -> str:
    if re.fullmatch(r"https?://[a-z0-9.-]+(:[0-9]{1,5})?", origin) is None:
        raise PydanticCustomError("origin", "name each origin as browsers do, such as https://app.example.org")
    return origin


def _collector(address: str) -> str:
    if re.fullmatch(r"https?://[^\s/@]+/\S*", address) is None:
        raise PydanticCustomError("collector", "name the collector's whole address, such as http://HOST:4318/v1/traces")
    return address


def _rate(text: str) -> str:
    try:
        Rate.parse(text)
    except ValueError as error:
        raise PydanticCustomError("rate", "{why}", {"why": str(error)}) from None
    return text


class JwtConfig(Section):
    """Tokens (JWT) of an identity provider (OpenID Connect)."""

    issuer: str = Field(min_length=1)
    """What a token's `iss` must be."""
    audience: str = Field(min_length=1)
    """What a token's `aud` must be or hold: this endpoint's name at the issuer."""
    jwks: Annotated[str, Field(min_length=1), AfterValidator(_https_or_file)]
    """The issuer's public keys (JWKS): an https address, or a file."""
    algorithms: Annotated[tuple[Annotated[str, AfterValidator(_signature)], ...], Field(min_length=1)] = SIGNATURES
    """The signatures that are accepted; all that need a private key when left out. `none` and HS256 never are."""
    leeway: float = Field(default=30, ge=0, le=600)
    """Seconds by which the issuer's clock and this one may differ."""
    scope_claim: str = Field(default="scope", min_length=1)
    """Where a token says what it is for: words in one text, or a list. Those that are no scope here are left alone."""
    subject_claim: str = Field(default="sub", min_length=1)
    """Where a token says who asks; requests are counted by it."""


class TlsConfig(Section):
    """HTTPS by the endpoint itself; both files must be on every node that listens."""

    certificate: str = Field(min_length=1)
    """A PEM file: the certificate, and behind it those that it rests on."""
    key: str = Field(min_length=1)
    """A PEM file with its private key, without a password."""


class MaskConfig(Section):
    """What requests may have masked in their answers (docs/masking.md)."""

    regions: tuple[str, ...] = ("CN", "US")
    """Countries (two letters) whose people write telephone numbers without `+`; others need it."""
    entity_types: tuple[str, ...] = ("PER", "PERSON")
    """Types of the model's entities that are names of people, for models that find entities."""
    key_file: str | None = Field(default=None, min_length=1)
    """A file with the key of reversible tokens, as `python -m jobs.mask --new-key` prints it; none can be asked for
    when left out. A replica reads it where it runs."""


class TracesConfig(Section):
    """Spans of requests for an OpenTelemetry collector (docs/monitoring.md)."""

    endpoint: Annotated[str, AfterValidator(_collector)]
    """Where it takes OTLP by HTTP, such as http://HOST:4318/v1/traces. A token for it belongs in
    OTEL_EXPORTER_OTLP_HEADERS, not here."""
    sampling_ratio: float = Field(default=0.01, ge=0, le=1)
    """Share of the traces that are kept. Of a request that continues a caller's trace, the caller decides."""


class TrialConfig(Section):
    """What a candidate must show before it is served, and a new champion before the former one is closed
    (docs/versions.md). A candidate's own tag in the registry wins over it, key by key."""

    min_requests: int = Field(default=200, ge=1)
    """Requests that it must have answered, and whose answers were compared, before it may be promoted."""
    min_seconds: float = Field(default=60, ge=0)
    """How long a trial lasts at least."""
    max_error_ratio: float = Field(default=0.01, ge=0, le=1)
    """Requests of all that it may fail on, among those that the other version can answer."""
    max_latency_ratio: float = Field(default=1.5, gt=0)
    """Its time for a request by the champion's: of the median and of the 99th percentile."""
    min_agreement: float = Field(default=0.95, ge=0, le=1)
    """How far its answers must be those of the champion, on average; 0 compares none."""
    promote: Literal["auto", "hand"] = "auto"
    """Whether a candidate that has shown all that is promoted at once, or waits for `python -m jobs.versions promote`.
    One that fails is dropped either way."""
    watch_seconds: float = Field(default=600, ge=0)
    """How long a new champion is watched: the former one stays loaded, answers what the new one fails on, and comes
    back if that is too much."""


class ServeConfig(WorkersConfig):
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    auth: Literal["key", "none"] = "key"
    """`key` asks for `Authorization: Bearer KEY`: one of `keys`, a token of `jwt`, or, without both, the one key in
    MOTLEY_API_KEY (or a new one that is printed)."""
    keys: str | None = Field(default=None, min_length=1)
    """The file of keys that `python -m jobs.keys` writes (docs/access.md). A replica reads it where it runs."""
    jwt: JwtConfig | None = None
    """Accepts tokens of an identity provider, too."""
    rate: Annotated[str, AfterValidator(_rate)] | None = None
    """How often each key or subject may ask that has no rate of its own, such as 100/min (or /s, /h, /day)."""
    cors: tuple[Annotated[str, AfterValidator(_origin)], ...] = ()
    """Origins whose pages may ask from within a browser, such as https://app.example.org; none when left out."""
    tls: TlsConfig | None = None
    """Plain HTTP when left out."""
    audit: str | None = Field(default=None, min_length=1)
    """The file that gets a line for every request, without text or key; only the logger when left out."""
    traces: TracesConfig | None = None
    """None are made when left out."""
    mask: MaskConfig = MaskConfig()
    beside: tuple[WorkersConfig, ...] = ()
    """Further groups of workers, of another kind: [{device: gpu}] beside those on CPUs. What a group is given follows
    from how fast it was measured to be."""
    max_batch_size: int = Field(default=32, ge=1)
    """Most inputs in one pass through the model."""
    batch_wait_ms: float = Field(default=5, ge=0)
    """How long a request waits at most for others to share its pass; never longer than starting a pass takes here."""
    max_wait_seconds: float = Field(default=30, gt=0)
    """Seconds of work that may wait; what comes then is answered 503, with a time to come again."""
    deadline_seconds: float = Field(default=600, gt=0)
    """Longest time from a request to the end of its answer; then it is answered 504. A request may have less, by its
    header Request-Timeout, never more."""
    follow_seconds: float = Field(default=5, ge=0)
    """Seconds between looks at the registry, for another version behind `track.alias` or a candidate; 0 never looks."""
    golden: str | None = Field(default=None, min_length=1)
    """A file of inputs (JSON lines) that a version must answer before it gets any request (docs/versions.md); the
    model's own golden.jsonl, if it has one, when left out."""
    golden_agreement: float = Field(default=0.9, ge=0, le=1)
    """How far its answers must be those that the file expects, or the champion's, on average."""
    trial: TrialConfig = TrialConfig()
    max_inputs: int = Field(default=256, ge=1)
    """Most inputs in one request."""
    max_characters: int = Field(default=20_000, ge=1)
    """Longest input in one request."""

    @property
    def by_one_key(self) -> bool:
        """Whether the one key in MOTLEY_API_KEY is what opens."""
        return self.auth == "key" and self.keys is None and self.jwt is None

    @property
    def groups(self) -> tuple[WorkersConfig, ...]:
        """All groups of workers."""
        return (self, *self.beside)

    @model_validator(mode="after")
    def _nothing_ignored(self) -> Self:
        if self.beside and not all(group.least for group in self.groups):
            raise PydanticCustomError(
                "asleep", "of several groups of workers none can go down to none; set least of each scale to 1 or more"
            )
        if self.auth == "none":
            for name in ("keys", "jwt", "rate"):
                if getattr(self, name) is not None:
                    raise PydanticCustomError(
                        "open", "auth is none, so that {name} would be ignored; leave one of both out", {"name": name}
                    )
        return self
