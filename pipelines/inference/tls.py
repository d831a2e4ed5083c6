"""The endpoint's certificate and private key, looked at before anything starts."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from pipelines.errors import UserError
from pipelines.serve_settings import TlsConfig


def files_of(tls: TlsConfig | None, now: datetime) -> tuple[str, str] | None:
    """The certificate's and the key's whole paths, the files checked; None without them.

    Raises:
        UserError: a file is not there, is not what it should be, the certificate is not for this key, or not for now.
    """
    if tls is None:
        return None
    certificate = _certificate(Path(tls.certificate).expanduser())
    key = _key(Path(tls.key).expanduser())
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if certificate.public_key().public_bytes(*form) != key.public_key().public_bytes(*form):
        raise UserError(
            f"The certificate {tls.certificate} is not for the private key {tls.key}: set serve.tls.key to the one it "
            "was made with, and put the endpoint's own certificate first in its file."
        )
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if not begin <= now < end:
        raise UserError(
            f"The certificate {tls.certificate} holds from {begin:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC, and now "
            f"it is {now:%Y-%m-%d %H:%M}: renew it, and set serve.tls.certificate."
        )
    return str(Path(tls.certificate).expanduser().absolute()), str(Path(tls.key).expanduser().absolute())


def certificate_end(tls: TlsConfig | None) -> float | None:
    """When the certificate ends, in seconds since 1970; None without one.

    Raises:
        UserError: the file is not there, or holds no certificate.
    """
    return None if tls is None else _certificate(Path(tls.certificate).expanduser()).not_valid_after_utc.timestamp()


def _certificate(path: Path) -> x509.Certificate:
    raw = _read(path, "certificate")
    try:
        return x509.load_pem_x509_certificates(raw)[0]
    except ValueError:
        raise UserError(
            f"{path} holds no certificate in PEM (-----BEGIN CERTIFICATE-----): correct serve.tls.certificate."
        ) from None


def _key(path: Path) -> PrivateKeyTypes:
    raw = _read(path, "key")
    try:
        return load_pem_private_key(raw, password=None)
    except TypeError:
        raise UserError(
            f"The private key {path} has a password; write it without one, for this user to read only."
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise UserError(
            f"{path} holds no private key in PEM (-----BEGIN PRIVATE KEY-----): correct serve.tls.key."
        ) from None


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): correct serve.tls.{what}.") from None
