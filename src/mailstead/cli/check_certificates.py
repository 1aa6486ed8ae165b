"""Certificates of listeners: whether they can serve, until when, and for whom."""

from __future__ import annotations

import contextlib
import datetime
import os
import ssl
from collections.abc import Iterator
from pathlib import Path

from cryptography import x509

from mailstead.cli.finding import OK, PROBLEM, WARNING, Finding
from mailstead.process.bootstrap import Bootstrap
from mailstead.process.certificates import CertificateError, build_context, leaf, tls_settings
from mailstead.settings.listeners import ListenerSettings
from mailstead.settings.references import NOTHING

NEW = datetime.timedelta(minutes=5)
"""So far ahead of the clock a certificate may begin, for clocks differ."""


def certificate_checks(bootstrap: Bootstrap, listeners: list[ListenerSettings], own: str) -> Iterator[Finding]:
    """Of enabled listeners; ``own``: the server's name."""
    for listener in listeners:
        if listener.enable and listener.sslEnable and listener.certFile in NOTHING:
            text = f"{listener.service} {listener.address} has sslEnable but no certFile: it serves nobody"
            fix = f"mailstead listener set {listener.service} {listener.address} certFile=certs/default.pem"
            yield Finding(PROBLEM, "certificate", text, fix)
    names = sorted({listener.certFile for listener in listeners if listener.enable} - set(NOTHING))
    if not names:
        fix = "put certificate, chain and key into certs/default.pem, and `mailstead listener set ... certFile=certs/default.pem`"
        yield Finding(WARNING, "certificate", "no listener has one: TLS is not offered", fix)
    now = datetime.datetime.now(datetime.UTC)
    for name in names:
        try:
            certificate = leaf(bootstrap.data_dir / name)
        except CertificateError as exc:
            fix = f"put certificate, chain and key (PEM) into {bootstrap.data_dir / name}, mode 600; it is taken in half a minute"
            yield Finding(PROBLEM, "certificate", str(exc), fix)
            continue
        days = (certificate.not_valid_after_utc - now).days
        severity = PROBLEM if days < 0 else WARNING if days < 14 else OK
        fixes = ["put a new certificate with its key into the file; it is taken within half a minute"] if severity else []
        notes = [f"{name}: valid for {days} days" if days >= 0 else f"{name}: expired"]
        if certificate.not_valid_before_utc > now + NEW:
            severity = PROBLEM
            notes.append(f"not valid before {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC")
            fixes.append("look whether the clock is right (`date`); if it is, wait, or put the certificate before it back")
        if certificate.issuer == certificate.subject:
            severity = max(severity, WARNING)
            notes.append("self-signed: clients will warn")
            fixes.append("have one signed by an authority that clients know")
        if not names_host(certificate, own):
            severity = max(severity, WARNING)
            notes.append(f"not for {own}")
            fixes.append(f"have {own} among its names, or set server.serverName to one it has")
        mismatch = key_fault(bootstrap.data_dir / name)
        if mismatch:
            severity = PROBLEM
            notes.append(mismatch)
            fixes.append("put certificate, chain and the key that belongs to them into the file")
        with contextlib.suppress(OSError):
            if os.stat(bootstrap.data_dir / name).st_mode & 0o077:
                severity = max(severity, WARNING)
                notes.append("other users can read the key")
                fixes.append(f"chmod 600 {bootstrap.data_dir / name}")
        yield Finding(severity, "certificate", ", ".join(notes), "; ".join(fixes))
        if not mismatch:
            yield from _contexts(bootstrap.data_dir, [one for one in listeners if one.enable and one.certFile == name])


def _contexts(data_dir: Path, listeners: list[ListenerSettings]) -> Iterator[Finding]:
    """Of listeners with a certificate that is right: what else keeps them from TLS."""
    for listener in listeners:
        try:
            build_context(tls_settings(listener, data_dir))
        except CertificateError as exc:
            fix = f"put the file there, or mailstead listener set {listener.service} {listener.address} with what is allowed"
            text = f"{listener.service} {listener.address}: {exc}: no TLS there after the next start"
            yield Finding(PROBLEM, "certificate", text, fix)


def names_host(certificate: x509.Certificate, host: str) -> bool:
    """Whether a certificate is for a host (RFC 6125: names, one wildcard label)."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName)
    except (x509.ExtensionNotFound, ValueError):
        return False
    rest = host.partition(".")[2]
    return any(name.lower() in (host.lower(), f"*.{rest.lower()}") for name in names)


def key_fault(path: Path) -> str:
    """Why the key of a PEM file cannot serve its certificate; "" where it can."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(path, password=lambda: b"")
    except ssl.SSLError as error:
        mismatch = "MISMATCH" in str(error)
        return "the key does not belong to the certificate" if mismatch else f"the key cannot be used: {error.reason}"
    except OSError as error:
        return f"the file cannot be read: {error.strerror}"
    return ""


def certificate_fault(path: Path) -> str:
    """Why a PEM file cannot serve a listener; "" where it can."""
    try:
        leaf(path)
    except CertificateError as error:
        return str(error)
    fault = key_fault(path)
    return f"{path}: {fault}" if fault else ""


