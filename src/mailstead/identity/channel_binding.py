"""Channel binding data of type tls-server-end-point (RFC 5929 section 4.1)."""

from __future__ import annotations

import hashlib

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding


def tls_server_end_point(certificate: bytes) -> bytes | None:
    """Hash of the server's certificate (DER or PEM), by its own signature's hash; MD5 and SHA-1 count as SHA-256.

    None where the signature has no single hash (Ed25519), for which the type is not defined.
    """
    if certificate.lstrip().startswith(b"-----BEGIN"):
        parsed = x509.load_pem_x509_certificate(certificate)
    else:
        parsed = x509.load_der_x509_certificate(certificate)
    try:
        algorithm = parsed.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return None
    if algorithm is None:
        return None
    name = "sha256" if algorithm.name in ("md5", "sha1") else algorithm.name
    return hashlib.new(name, parsed.public_bytes(Encoding.DER)).digest()
