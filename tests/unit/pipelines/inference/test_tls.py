"""Certificates that the test makes, looked at before anything listens."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from pipelines.errors import UserError
from pipelines.inference.tls import certificate_end, files_of
from pipelines.serve_settings import TlsConfig

NOW = datetime(2026, 11, 27, 7, tzinfo=UTC)
DAY = timedelta(days=1)
KEY, OTHER = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())


def certificate(key: ec.EllipticCurvePrivateKey = KEY) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, NOW - DAY, NOW + DAY).sign(key, SHA256())
    return made.public_bytes(Encoding.PEM)


def private(key: Any = KEY, encryption: KeySerializationEncryption = NoEncryption()) -> bytes:  # noqa: B008
    written: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
    return written


def files(folder: Path, chain: bytes | None, key: bytes | None) -> TlsConfig:
    for name, content in (("chain.pem", chain), ("key.pem", key)):
        if content is not None:
            (folder / name).write_bytes(content)
    return TlsConfig(certificate=str(folder / "chain.pem"), key=str(folder / "key.pem"))


def test_files_that_fit_are_told_by_their_whole_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = (f"{tmp_path}/chain.pem", f"{tmp_path}/key.pem")
    # The endpoint's own certificate comes first, then those that it rests on.
    tls = files(tmp_path, certificate() + certificate(OTHER), private())
    assert files_of(tls, NOW) == expected
    monkeypatch.chdir(tmp_path)
    assert files_of(TlsConfig(certificate="chain.pem", key="key.pem"), NOW) == expected


def test_without_them_it_is_plain_http() -> None:
    assert files_of(None, NOW) is None


@pytest.mark.parametrize(
    ("chain", "key", "said"),
    [
        (None, private(), r"chain.pem cannot be read \(No such file or directory\): correct serve.tls.certificate"),
        (certificate(), None, r"key.pem cannot be read \(No such file or directory\): correct serve.tls.key"),
        (private(), private(), "chain.pem holds no certificate in PEM"),
        (b"\xff", private(), "chain.pem holds no certificate in PEM"),
        (certificate(), certificate(), "key.pem holds no private key in PEM"),
        (certificate(), b"", "key.pem holds no private key in PEM"),
        (certificate(), private(OTHER), "is not for the private key"),
        (certificate(OTHER) + certificate(), private(), "put the endpoint's own certificate first"),
        (certificate(), private(KEY, BestAvailableEncryption(b"x")), "has a password; write it without one"),
    ],
)
def test_files_that_do_not_fit_are_refused(tmp_path: Path, chain: bytes | None, key: bytes | None, said: str) -> None:
    with pytest.raises(UserError, match=said):
        files_of(files(tmp_path, chain, key), NOW)


@pytest.mark.parametrize("now", [NOW - 2 * DAY, NOW + DAY])
def test_a_certificate_is_for_its_time_only(tmp_path: Path, now: datetime) -> None:
    with pytest.raises(UserError, match="holds from 2026-11-26 07:00 to 2026-11-28 07:00 UTC, and now it is 2026-11-"):
        files_of(files(tmp_path, certificate(), private()), now)


def test_the_certificate_s_end_is_told_in_seconds_since_1970(tmp_path: Path) -> None:
    path = tmp_path / "certificate.pem"
    path.write_bytes(certificate())
    assert certificate_end(TlsConfig(certificate=str(path), key="key.pem")) == (NOW + DAY).timestamp()
    assert certificate_end(None) is None
    path.write_bytes(b"")
    with pytest.raises(UserError, match="holds no certificate"):
        certificate_end(TlsConfig(certificate=str(path), key="key.pem"))
