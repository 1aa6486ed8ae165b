"""TLS towards other hosts (SMO-04, SMO-16).

Invariants: without ``verifyCertificates`` TLS is opportunistic: it protects against listeners, not against impostors,
so no certificate is refused (RFC 7435); with it a certificate must be valid and name the host.
"""

from __future__ import annotations

import ssl
from typing import Any

_VERSIONS = {
    "tls1": ssl.TLSVersion.TLSv1,
    "tls1_1": ssl.TLSVersion.TLSv1_1,
    "tls1_2": ssl.TLSVersion.TLSv1_2,
    "tls1_3": ssl.TLSVersion.TLSv1_3,
}
_OFF = {"tls1": ssl.OP_NO_TLSv1, "tls1_1": ssl.OP_NO_TLSv1_1, "tls1_2": ssl.OP_NO_TLSv1_2, "tls1_3": ssl.OP_NO_TLSv1_3}


def client_context(versions: frozenset[str], verify: bool, ca_bundle: str = "") -> ssl.SSLContext:
    """A context for the versions by their settings names. Raises OSError where the bundle cannot be read."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if verify:
        if ca_bundle:
            context.load_verify_locations(ca_bundle)
        else:
            context.load_default_certs()
    else:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    allowed = [name for name in _VERSIONS if name in versions] or ["tls1_2", "tls1_3"]
    context.minimum_version = _VERSIONS[allowed[0]]
    context.maximum_version = _VERSIONS[allowed[-1]]
    for name, option in _OFF.items():
        if name not in allowed and allowed[0] < name < allowed[-1]:
            context.options |= option
    if "tls1" in allowed or "tls1_1" in allowed:
        # OpenSSL's default level shuts the old versions out whatever the options say.
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
    return context


class ClientContexts:
    """Contexts by settings, made once."""

    def __init__(self) -> None:
        self._made: dict[tuple[frozenset[str], bool, str], ssl.SSLContext] = {}

    def get(self, settings: Any, ca_bundle: str = "") -> ssl.SSLContext:
        """For the context smtpOutgoing. Raises OSError."""
        key = (frozenset(settings.allowedSSLVersions), bool(settings.verifyCertificates), ca_bundle)
        context = self._made.get(key)
        if context is None:
            if len(self._made) > 16:
                self._made.clear()
            context = self._made[key] = client_context(*key)
        return context
