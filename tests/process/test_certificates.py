"""Certificates, contexts and channel bindings."""

from __future__ import annotations

import hashlib
import ssl
import stat
from pathlib import Path

import pytest

from mailstead.process.certificates import CertificateError, ContextCache, TlsSettings, build_context, self_signed
from mailstead.transport.tls import end_point_hash


def test_self_signed_certificate_is_private_and_names_its_hosts(tmp_path: Path) -> None:
    path = tmp_path / "certs" / "default.pem"
    self_signed(path, ["mail.example.test", "127.0.0.1", "::1"])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    client = ssl.create_default_context(cafile=str(path))
    server = build_context(TlsSettings(str(path)))
    assert server is not None
    for name in ("mail.example.test", "127.0.0.1"):
        a, b, c, d = ssl.MemoryBIO(), ssl.MemoryBIO(), ssl.MemoryBIO(), ssl.MemoryBIO()
        near, far = client.wrap_bio(a, b, server_hostname=name), server.wrap_bio(c, d, server_side=True)
        for _ in range(6):
            for side, out, into in ((near, b, c), (far, d, a)):
                try:
                    side.do_handshake()
                except ssl.SSLWantReadError:
                    pass
                into.write(out.read())
        der = near.getpeercert(binary_form=True)
        assert der is not None
        assert near.version() == "TLSv1.3"
        assert server.channel_binding == hashlib.sha256(der).digest()


def test_context_is_rebuilt_when_the_file_changes(tmp_path: Path) -> None:
    path, cache = tmp_path / "c.pem", ContextCache()
    self_signed(path, ["a.example"])
    settings = TlsSettings(str(path))
    first = cache.get(settings)
    assert cache.get(settings) is first
    self_signed(path, ["b.example"])
    assert cache.get(settings) is not first


def test_errors_say_which_file_and_why(tmp_path: Path) -> None:
    missing, garbage = tmp_path / "missing.pem", tmp_path / "garbage.pem"
    garbage.write_text("garbage")
    with pytest.raises(CertificateError, match=r"missing\.pem.*No such file"):
        build_context(TlsSettings(str(missing)))
    with pytest.raises(CertificateError, match=r"garbage\.pem holds no PEM"):
        build_context(TlsSettings(str(garbage)))
    self_signed(garbage, ["a.example"])
    with pytest.raises(CertificateError, match="cipherSuite"):
        build_context(TlsSettings(str(garbage), ciphers="NONSENSE"))
    with pytest.raises(CertificateError, match="allowedVersions"):
        build_context(TlsSettings(str(garbage), allowed_versions=frozenset({"ssl3"})))
    assert build_context(TlsSettings("none")) is None


@pytest.mark.parametrize(("name", "used"), [("md5", "sha256"), ("sha1", "sha256"), ("sha384", "sha384"), (None, "sha256")])
def test_end_point_hash_follows_the_signature(name: str | None, used: str) -> None:
    assert end_point_hash(b"der", name) == hashlib.new(used, b"der").digest()
