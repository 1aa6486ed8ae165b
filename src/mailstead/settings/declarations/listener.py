"""Context listener (LIS-03, LIS-06, LIS-08, LIS-09, LIS-10) and the limits of allow rules (LIS-04).

The upper bounds of LIS-03 are extended (2048 to 65535 connections, 100000 to 1000000 per interval); defaults stay.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from mailstead.settings.declaration import Context, Kind, Reload, Setting, boolean, choice_set, form, integer, path, text

HTTP_DEFAULTS: Mapping[str, int] = {"maxConnections": 1000, "maxIntervalConnections": 1200, "peerMaxConnections": 100}
"""Where listeners of WebMail and WebAdmin differ."""

TLS_VERSIONS = ("ssl2", "ssl3", "tls1", "tls1_1", "tls1_2", "tls1_3")
CIPHERS = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:"
    "DHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-GCM-SHA384"
)


def flow_limits(*, unlimited: bool) -> tuple[Setting, ...]:
    """The six flow limits. With `unlimited` (rules) 0 is the default and means no limit of its own."""
    connections, interval, peer, peer_interval = (0, 0, 0, 0) if unlimited else (200, 600, 20, 600)
    lowest = 0 if unlimited else 1
    return (
        integer("maxConnections", connections, lowest, 65_535, "Connections at the same time"),
        integer("maxIntervalConnections", interval, 0, 1_000_000, "New connections per timeInterval; 0 = unlimited"),
        integer("timeInterval", 60, 1 if unlimited else 30, 86_400, "Interval for all peers", "seconds"),
        integer("peerMaxConnections", peer, lowest, 65_535, "Connections of one peer at the same time"),
        integer("peerMaxIntervalConnections", peer_interval, 0, 1_000_000, "New connections of one peer; 0 = unlimited"),
        integer("peerTimeInterval", 60, 1 if unlimited else 30, 86_400, "Interval for one peer", "seconds"),
    )


TLS = (
    choice_set("allowedVersions", ("tls1_2", "tls1_3"), TLS_VERSIONS, "TLS versions"),
    path("certFile", "certs/default.pem", "PEM with chain and key; none = no TLS"),
    path("caFile", "", "Authorities for client certificates"),
    path("dhParamFile", "", "Diffie-Hellman parameters; empty = built in"),
    integer("maxChainDepth", 4, 1, 16, "Longest certificate chain of a client"),
    form("cipherSuite", Kind.CIPHERS, CIPHERS, "OpenSSL cipher list"),
    boolean("preferServerCipherSuiteOrder", True, "The server's order of ciphers decides"),
    boolean("useEphemeralKey", True, "Forward secrecy"),
    boolean("requestClientAuth", False, "Ask for a client certificate"),
)
"""LIS-06: the SSLCONTROL of a listener and of a host name."""

ADDRESS = (
    boolean("enable", True, "Listen"),
    integer("idleTimeout", 300, 0, 86_400, "Close idle connections; 0 = never", "seconds", reload=Reload.NEW_SESSIONS),
    *flow_limits(unlimited=False),
    boolean("sslEnable", False, "TLS from the first octet", reload=Reload.NEW_SESSIONS),
    choice_set(
        "proxyProtocol",
        (),
        ("allowV1", "allowV2", "allowAll", "isOptional"),
        "Take the peer's address from a PROXY header",
        empty="disabled",
    ),
    integer("proxyProtocolTimeout", 5, 1, 600, "Wait for the PROXY header", "seconds"),
    text("listenerDomain", "", "Domain of bare user names on this listener", longest=255, names="domain"),
    boolean("nonClusterListener", True, "Not for traffic inside the cluster"),
    boolean("submission", False, "Submission rules apply (ports 587 and 465): authentication first"),
)

CONTEXT = Context(
    "listener",
    (*ADDRESS, *TLS),
    permission="manageServerConfig",
    help="A bind address with its limits, rules and TLS",
    scope="object",
)
LISTENER_OWN = Context("listener", ADDRESS, permission="manageServerConfig", help="A bind address with its limits", scope="object")
SSL_CONTROL = Context("sslControl", TLS, permission="manageServerConfig", help="TLS of a listener or host name", scope="object")

ACCESS_LIMITS = Context(
    "accessRule", flow_limits(unlimited=True), permission="manageServerConfig", help="Limits of an allow rule", scope="object"
)


def access_control(service: str, permission: str, *, http: bool = False) -> Context:
    """The six limits of a service as a whole (LIS-04), named `<service>AccessControl`; the numbers are a listener's."""
    return Context(
        f"{service}AccessControl",
        tuple(
            replace(setting, default=HTTP_DEFAULTS[setting.name]) if http and setting.name in HTTP_DEFAULTS else setting
            for setting in flow_limits(unlimited=False)
        ),
        permission=permission,
        help="Limits of the service where no listener's hold",
    )
