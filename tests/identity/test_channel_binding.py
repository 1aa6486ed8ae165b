"""tls-server-end-point of certificates with several signatures (RFC 5929 section 4.1)."""

from __future__ import annotations

import datetime
import hashlib

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from mailstead.identity.channel_binding import tls_server_end_point


def certificate(algorithm: hashes.HashAlgorithm | None) -> x509.Certificate:
    key = ec.generate_private_key(ec.SECP256R1()) if algorithm is not None else ed25519.Ed25519PrivateKey.generate()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "example.test")])
    start = datetime.datetime(2026, 1, 1)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, start, start + datetime.timedelta(days=9))
    return builder.sign(key, algorithm)  # type: ignore[arg-type]


@pytest.mark.parametrize(("algorithm", "name"), [(hashes.SHA256(), "sha256"), (hashes.SHA384(), "sha384")])
def test_hash_of_the_signature_is_used(algorithm: hashes.HashAlgorithm, name: str) -> None:
    made = certificate(algorithm)
    der = made.public_bytes(Encoding.DER)
    assert tls_server_end_point(der) == hashlib.new(name, der).digest()
    assert tls_server_end_point(made.public_bytes(Encoding.PEM)) == hashlib.new(name, der).digest()


def test_undefined_for_signatures_without_a_hash() -> None:
    assert tls_server_end_point(certificate(None).public_bytes(Encoding.DER)) is None
