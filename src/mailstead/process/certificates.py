"""Certificates and TLS contexts of listeners (feature LIS-06).

Invariants: a private key is written with mode 0600 and never logged; a context is either complete or not made; the
channel binding belongs to the very certificate that is served.
"""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import os
import ssl
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mailstead.settings.listeners import ListenerSettings
from mailstead.settings.references import NOTHING
from mailstead.transport.tls import ServerContext, end_point_hash, remember_server_name

#: ECDHE with AEAD only for TLS 1.2; TLS 1.3 suites are OpenSSL's own.
DEFAULT_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL:!eNULL:!MD5:!PSK"

_VERSIONS = {
    "tls1": ssl.TLSVersion.TLSv1,
    "tls1_1": ssl.TLSVersion.TLSv1_1,
    "tls1_2": ssl.TLSVersion.TLSv1_2,
    "tls1_3": ssl.TLSVersion.TLSv1_3,
}


class CertificateError(Exception):
    """A certificate or TLS setting cannot be used; the text says which and why."""


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """`sslControl` of a listener. `cert_file` holds chain and key in PEM; "" or "none" means no certificate."""

    cert_file: str = ""
    ca_file: str = ""
    allowed_versions: frozenset[str] = frozenset({"tls1_2", "tls1_3"})
    ciphers: str = DEFAULT_CIPHERS
    prefer_server_order: bool = True
    request_client_certificate: bool = False


def tls_settings(listener: ListenerSettings, data_dir: Path) -> TlsSettings:
    """What a listener says of TLS; relative files lie under the data directory."""

    def path(name: str) -> str:
        return name if name in NOTHING else str(data_dir / name)

    return TlsSettings(
        cert_file=path(listener.certFile),
        ca_file=path(listener.caFile),
        allowed_versions=frozenset(listener.allowedVersions),
        ciphers=listener.cipherSuite,
        prefer_server_order=listener.preferServerCipherSuiteOrder,
        request_client_certificate=listener.requestClientAuth,
    )


def self_signed(path: Path, names: Sequence[str], days: int = 3650) -> None:
    """Write key and self-signed ECDSA P-256 certificate for `names` (host names and IP addresses) to `path`."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".new")
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(fd, "wb") as file:
        file.write(pem)
        file.flush()
        os.fsync(fd)
    os.replace(temporary, path)


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def leaf(path: Path) -> x509.Certificate:
    """The first certificate in a PEM file. Raises CertificateError."""
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())[0]
    except OSError as exc:
        raise CertificateError(f"cannot read the certificate {path}: {exc.strerror}") from exc
    except ValueError as exc:
        raise CertificateError(f"{path} holds no PEM certificate") from exc


def channel_binding(certificate: x509.Certificate) -> bytes:
    """tls-server-end-point of `certificate` (RFC 5929 section 4.1)."""
    algorithm = certificate.signature_hash_algorithm
    der = certificate.public_bytes(serialization.Encoding.DER)
    return end_point_hash(der, algorithm.name if algorithm else None)


def build_context(settings: TlsSettings) -> ServerContext | None:
    """The context for a listener, None without a certificate. Raises CertificateError."""
    if settings.cert_file in ("", "none"):
        return None
    path = Path(settings.cert_file)
    certificate = leaf(path)
    context = ServerContext(ssl.PROTOCOL_TLS_SERVER)
    _versions(context, settings.allowed_versions)
    try:
        context.load_cert_chain(path)
    except (ssl.SSLError, OSError) as exc:
        raise CertificateError(f"{path}: certificate and key do not fit together, or the key is missing") from exc
    try:
        context.set_ciphers(settings.ciphers)
    except ssl.SSLError as exc:
        raise CertificateError(f"cipherSuite {settings.ciphers!r} names no usable cipher") from exc
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    if settings.prefer_server_order:
        context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    if settings.request_client_certificate:
        context.verify_mode = ssl.CERT_OPTIONAL
        if settings.ca_file in ("", "none"):
            raise CertificateError("requestClientAuth needs a caFile")
        try:
            context.load_verify_locations(settings.ca_file)
        except (ssl.SSLError, OSError) as exc:
            raise CertificateError(f"cannot read the caFile {settings.ca_file}") from exc
    context.sni_callback = remember_server_name
    context.channel_binding = channel_binding(certificate)
    return context


def _versions(context: ssl.SSLContext, names: Iterable[str]) -> None:
    wanted = sorted({_VERSIONS[name] for name in names if name in _VERSIONS})
    if not wanted:
        raise CertificateError("allowedVersions leaves no TLS version that is still supported")
    context.minimum_version, context.maximum_version = wanted[0], wanted[-1]


class ContextCache:
    """Contexts by settings, rebuilt when the file changes (checked by the caller, at most every few seconds)."""

    def __init__(self) -> None:
        self._known: dict[TlsSettings, tuple[tuple[int, int, int], ServerContext | None]] = {}

    def get(self, settings: TlsSettings) -> ServerContext | None:
        """The context for `settings` and the file as it is now. Raises CertificateError."""
        state = (0, 0, 0)
        if settings.cert_file not in ("", "none"):
            try:
                stat = os.stat(settings.cert_file)
            except OSError as exc:
                raise CertificateError(f"cannot read the certificate {settings.cert_file}: {exc.strerror}") from exc
            state = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        known = self._known.get(settings)
        if known is None or known[0] != state:
            known = self._known[settings] = (state, build_context(settings))
        return known[1]
