"""Tokens signed with keys made here; the issuer is a function in this process, or a file."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from pipelines.inference.credentials import WRONG, Caller, Refused, Unavailable
from pipelines.inference.jwks import (
    MOST_BYTES,
    SECONDS_BETWEEN_FETCHES,
    SECONDS_FRESH,
    SECONDS_KEPT,
    Jwks,
    fetch_from,
    parse,
)
from pipelines.inference.rate import Rate
from pipelines.inference.tokens import Tokens
from pipelines.serve_settings import JwtConfig

NOW = 1_800_000_000.0
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
SMALL = rsa.generate_private_key(public_exponent=65537, key_size=1024)
CURVE = ec.generate_private_key(ec.SECP256R1())
EDWARDS = ed25519.Ed25519PrivateKey.generate()
SAID = {"iss": "https://id.example.org", "aud": "motley", "sub": "ada", "exp": NOW + 60, "scope": "openid predict"}


def public(kid: str, key: Any, **other: Any) -> dict[str, Any]:
    algorithms = {rsa.RSAPrivateKey: "RS256", ec.EllipticCurvePrivateKey: "ES256", ed25519.Ed25519PrivateKey: "EdDSA"}
    name = next(name for kind, name in algorithms.items() if isinstance(key, kind))
    return {**jwt.get_algorithm_by_name(name).to_jwk(key.public_key(), as_dict=True), "kid": kid, **other}


class Issuer:
    """Hands out its keys, and writes down how often it was asked."""

    def __init__(self, *keys: Mapping[str, Any]) -> None:
        self.keys, self.asked, self.now, self.is_down = list(keys), 0, 0.0, False

    async def fetch(self) -> bytes:
        self.asked += 1
        if self.is_down:
            raise OSError("no route")
        return json.dumps({"keys": self.keys}).encode()

    def jwks(self) -> Jwks:
        return Jwks(self.fetch, ticks=lambda: self.now)


ALL = Issuer(
    public("r", RSA), public("e", CURVE), public("d", EDWARDS), public("s", SMALL), public("o", RSA, use="enc")
)


def settings(**other: Any) -> JwtConfig:
    return JwtConfig.model_validate({"issuer": SAID["iss"], "audience": "motley", "jwks": "file", **other})


def caller(text: str, issuer: Issuer = ALL, **other: Any) -> Caller:
    tokens = Tokens(settings(**other), issuer.jwks(), Rate(5, 1), wall=lambda: NOW)
    return asyncio.run(tokens.caller(text))


def signed(key: Any = RSA, algorithm: str = "RS256", kid: str | None = "r", **said: Any) -> str:
    payload = {name: value for name, value in {**SAID, **said}.items() if value is not ...}
    return jwt.encode(payload, key, algorithm=algorithm, headers={} if kid is None else {"kid": kid})


@pytest.mark.parametrize(
    ("key", "algorithm", "kid"),
    [(RSA, "RS256", "r"), (RSA, "PS512", "r"), (CURVE, "ES256", "e"), (EDWARDS, "EdDSA", "d")],
)
def test_a_token_says_who_asks_and_what_for(key: Any, algorithm: str, kid: str) -> None:
    token = signed(key, algorithm, kid)
    assert caller(token) == Caller("token:ada", frozenset({"openid", "predict"}), Rate(5, 1))


def test_claims_may_go_by_other_names_and_hold_a_list() -> None:
    token = signed(sub=..., client_id="service", roles=["predict", "admin", 3], aud=["other", "motley"])
    found = caller(token, scope_claim="roles", subject_claim="client_id")
    assert (found.who, found.scopes) == ("token:service", {"predict", "admin"})
    assert caller(signed(scope=...)).scopes == frozenset()
    assert caller(signed(scope=7)).scopes == frozenset()


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"exp": NOW - 31}, "has expired"),
        ({"nbf": NOW + 31}, "not valid yet"),
        ({"aud": "other"}, "another audience"),
        ({"iss": "https://evil.example.org"}, "of another issuer"),
        ({"exp": float("inf")}, "no number"),
        ({"exp": "soon"}, "no number"),
        ({"exp": True}, "no number"),
        ({"sub": ...}, "names nobody"),
        ({"sub": "a" * 257}, "names nobody"),
        ({"exp": ...}, "not known here"),
        ({"aud": ...}, "not known here"),
        ({"iss": ...}, "not known here"),
    ],
)
def test_what_a_token_lacks_is_told_to_who_holds_it(said: dict[str, Any], told: str) -> None:
    with pytest.raises(Refused, match=told):
        caller(signed(**said))


def test_clocks_may_differ_by_the_leeway() -> None:
    assert caller(signed(exp=NOW - 29, nbf=NOW + 29))
    with pytest.raises(Refused, match="has expired"):
        caller(signed(exp=NOW - 29), leeway=10)


def forged(header: dict[str, Any], secret: bytes) -> str:
    """A token with a signature by a shared secret, or none, as attackers make them."""

    def part(raw: bytes) -> str:
        return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()

    begin = f"{part(json.dumps(header).encode())}.{part(json.dumps(SAID).encode())}"
    return f"{begin}.{part(hmac.digest(secret, begin.encode(), 'sha256') if secret else b'')}"


PEM = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize(
    "token",
    [
        signed(CURVE, "ES256", "r"),
        signed(EDWARDS, "EdDSA", "e"),
        signed(kid="unknown"),
        signed(kid="o"),
        signed(kid=None),
        signed()[:-9] + "AAAAAAAAA",
        forged({"alg": "none", "kid": "r"}, b""),
        forged({"alg": "None", "kid": "r"}, b""),
        # The public key as the secret of HS256: whoever lets the token choose takes it.
        forged({"alg": "HS256", "kid": "r"}, PEM),
        forged({"alg": "RS256", "kid": "r"}, PEM),
        forged({"alg": ["RS256"], "kid": "r"}, PEM),
        forged({"alg": {"RS256": 1}, "kid": "r"}, PEM),
        forged({"alg": "RS256", "kid": 5}, PEM),
        forged({"alg": "RS256", "kid": "r", "crit": ["x"]}, PEM),
        "..",
        "a.b.c",
        "é.é.é",
        "\ud800..",
        "a" * 20_000 + "..",
    ],
)
def test_what_is_not_signed_by_the_issuer_is_not_told_why(token: str) -> None:
    with pytest.raises(Refused) as refused:
        caller(token)
    assert str(refused.value) == WRONG


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
def test_a_key_that_is_too_short_counts_for_nothing() -> None:
    with pytest.raises(Refused, match="not known here"):
        caller(signed(SMALL, kid="s"))


def test_only_signatures_that_the_config_names_count_and_a_key_may_be_for_one_only() -> None:
    with pytest.raises(Refused):
        caller(signed(), algorithms=("ES256",))
    assert caller(signed(), Issuer(public("r", RSA, alg="RS256")))
    with pytest.raises(Refused):
        caller(signed(algorithm="PS256"), Issuer(public("r", RSA, alg="RS256")))


def test_without_a_key_id_the_only_key_there_is_counts() -> None:
    assert caller(signed(kid=None), Issuer(public("r", RSA)))


def test_keys_are_kept_and_fetched_again_for_an_unknown_id_but_not_for_every_one() -> None:
    async def play() -> list[int]:
        issuer = Issuer(public("old", RSA))
        jwks, asked = issuer.jwks(), []
        for _ in range(5):
            assert await jwks.find("old")
        asked.append(issuer.asked)
        issuer.keys.append(public("new", CURVE))
        assert await jwks.find("new") is None
        asked.append(issuer.asked)
        issuer.now += SECONDS_BETWEEN_FETCHES
        # They come together, and one asks for all.
        found = await asyncio.gather(*(jwks.find("new") for _ in range(20)))
        assert all(found)
        for number in range(20):
            assert await jwks.find(f"made up {number}") is None
        asked.append(issuer.asked)
        issuer.keys.pop(0)
        issuer.now += SECONDS_FRESH
        assert await jwks.find("old") is None
        return [*asked, issuer.asked]

    assert asyncio.run(play()) == [1, 1, 2, 3]


def test_while_the_issuer_is_down_its_keys_stay_for_a_day() -> None:
    async def play() -> None:
        issuer = Issuer(public("r", RSA))
        jwks = issuer.jwks()
        issuer.is_down = True
        with pytest.raises(Unavailable, match="issuer's keys could not be fetched"):
            await jwks.find("r")
        issuer.is_down = False
        issuer.now += SECONDS_BETWEEN_FETCHES
        assert await jwks.find("r")
        issuer.is_down = True
        issuer.now += SECONDS_KEPT - 1
        assert await jwks.find("r")
        issuer.now += 1
        with pytest.raises(Unavailable):
            await jwks.find("r")

    asyncio.run(play())


def test_keys_come_from_a_file_too(tmp_path: Path) -> None:
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps({"keys": [public("r", RSA)]}))
    tokens = Tokens(settings(), Jwks(fetch_from(str(path))), None, wall=lambda: NOW)
    assert asyncio.run(tokens.caller(signed())).who == "token:ada"
    tokens = Tokens(settings(), Jwks(fetch_from(str(tmp_path / "nothing"))), None, wall=lambda: NOW)
    with pytest.raises(Unavailable):
        asyncio.run(tokens.caller(signed()))


DOCUMENT = json.dumps({"keys": [public("r", RSA)]}).encode()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (httpx.Response(200, content=DOCUMENT), None),
        (httpx.Response(503), "HTTPStatusError"),
        # Elsewhere is not where the config says that the issuer's keys are.
        (httpx.Response(302, headers={"Location": "https://evil.example.org"}), "HTTPStatusError"),
        (httpx.Response(200, content=b" " * (MOST_BYTES + 1)), "sends more than 1048576 bytes"),
        (httpx.ConnectError("no route"), "ConnectError no route"),
    ],
)
def test_keys_come_from_an_address(answer: httpx.Response | httpx.ConnectError, said: str | None) -> None:
    async def handed_out(request: httpx.Request) -> httpx.Response:
        assert str(request.url) == "https://id.example.org/keys"
        if isinstance(answer, httpx.ConnectError):
            raise answer
        return answer

    fetch = fetch_from("https://id.example.org/keys", httpx.MockTransport(handed_out))
    if said is None:
        assert asyncio.run(fetch()) == DOCUMENT
    else:
        with pytest.raises(OSError, match=said):
            asyncio.run(fetch())


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"[]", b'{"keys": 1}', b'{"keys": [1]}', b'{"keys": [{}]}', b"\xff", b"[" * 99999]
)
def test_what_is_no_jwks_is_said_to_be_none(raw: bytes) -> None:
    with pytest.raises(ValueError, match="no JWKS"):
        parse(raw)


def test_shared_secrets_in_a_jwks_are_left_alone() -> None:
    assert parse(json.dumps({"keys": [{"kty": "oct", "k": "AA", "kid": "r"}]}).encode()) == []


HEADERS = st.dictionaries(
    st.sampled_from(["alg", "kid", "typ", "crit", "b64", "jwk"]),
    st.sampled_from(["RS256", "r", "e", "none", "", 5, None, [], {}, False, ["b64"]]),
)


@given(HEADERS, st.binary(max_size=40), st.binary(max_size=40))
def test_whatever_a_token_is_it_is_refused(header: dict[str, Any], payload: bytes, signature: bytes) -> None:
    parts = [json.dumps(header).encode(), payload, signature]
    with pytest.raises(Refused):
        caller(".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts))
