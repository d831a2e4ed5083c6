"""Who may be at either end of a line: whoever has the endpoint's own certificate and key, made anew at each start."""

from __future__ import annotations

import ssl
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

VALID = timedelta(days=3650)
"""Longer than any endpoint runs; it ends with it."""
CLOCKS = timedelta(days=1)
"""By which the clocks of two nodes may differ."""


@dataclass(frozen=True, slots=True)
class LineKeys:
    """One pair for the front and all workers. Crosses processes by Ray alone."""

    certificate: bytes
    """PEM."""
    key: bytes
    """PEM."""

    @staticmethod
    def new() -> LineKeys:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "lines of an endpoint")])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - CLOCKS)
            .not_valid_after(now + VALID)
            # It is its own authority: no other certificate is accepted.
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(key, SHA256())
        )
        return LineKeys(
            certificate.public_bytes(Encoding.PEM),
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        )

    def context(self, *, server: bool) -> ssl.SSLContext:
        """TLS in which both ends show the certificate and ask for it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        # Who has the key is of the endpoint, on whatever node.
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=self.certificate.decode())
        # OpenSSL reads keys from files only; the folder is this user's alone.
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "both.pem"
            file.touch(mode=0o600)
            file.write_bytes(self.key + self.certificate)
            context.load_cert_chain(file)
        return context

    def __repr__(self) -> str:
        return "LineKeys(...)"
