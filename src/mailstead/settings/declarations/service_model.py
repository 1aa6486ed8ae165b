"""Settings that every service repeats: threads, error control, logging (LIS-11, LIS-12, LIS-13), authentication."""

from __future__ import annotations

from mailstead.settings.declaration import Kind, Reload, Setting, boolean, choice, choice_set, form, integer, text

AUTH_TYPES = (
    "plain",
    "login",
    "cram-md5",
    "digest-md5",
    "gssapi",
    "scram-sha-1",
    "scram-sha-256",
    "scram-sha-1-plus",
    "scram-sha-256-plus",
    "apop",
)
SECURE_AUTH_TYPES = tuple(word for word in AUTH_TYPES if word != "apop")
PLAIN_AUTH_TYPES = ("cram-md5", "digest-md5", "gssapi", "scram-sha-1", "scram-sha-256")
USERDB = ("local", "ldap", "ldapBind")
UNLIMITED = 4_294_967_295


def threads() -> tuple[Setting, ...]:
    """LIS-11: kept for compatibility with configurations; connections are not bound to threads here."""
    return (
        integer("maxConnThreads", 20, 1, 1024, "Upper size of the service's thread pool"),
        integer("minConnThreads", 2, 1, 1024, "Lower size of the service's thread pool"),
    )


def errors() -> tuple[Setting, ...]:
    """LIS-12: a session that exceeds either is dropped."""
    return (
        integer("maxErrors", 20, 0, 10_000, "Wrong commands in a session before it is dropped; 0 = unlimited"),
        integer("maxAuthErrors", 5, 0, 10_000, "Failed logins in a session before it is dropped; 0 = unlimited"),
    )


def logging() -> tuple[Setting, ...]:
    """LIS-13, LOG-01: level is the sum of 1 critical, 2 error, 4 warning, 8 information, 16 protocol."""
    return (
        choice("logType", "internal", ("internal", "system", "remote"), "Where the service's log goes"),
        integer("logLevel", 15, 0, 31, "Sum of 1 critical, 2 error, 4 warning, 8 information, 16 protocol"),
        form("logHost", Kind.HOST_PORT, "127.0.0.1:2000", "Address and port of the remote log"),
    )


def user_database() -> tuple[Setting, ...]:
    """SMI-10, POP-04: where passwords are looked up."""
    return (
        choice("userdbConnectorType", "local", USERDB, "Where accounts are authenticated"),
        text("userdbConnectorName", "", "Name of the LDAP connector", longest=64, names="ldapConnector"),
    )


def authentication() -> tuple[Setting, ...]:
    """SMI-09, IMP-02: mechanisms, apart for connections with and without TLS."""
    return (
        boolean("allowStartTLS", True, "Offer TLS on plain connections", reload=Reload.NEW_SESSIONS),
        choice_set("secureConnAuthTypes", SECURE_AUTH_TYPES, AUTH_TYPES, "Mechanisms on connections with TLS"),
        choice_set("plainConnAuthTypes", PLAIN_AUTH_TYPES, AUTH_TYPES, "Mechanisms on connections without TLS"),
    )


def login() -> tuple[Setting, ...]:
    """IMP-02: the LOGIN command of IMAP, USER and PASS of POP3."""
    return (
        boolean("secureConnAllowLogin", True, "Allow the clear-text login command on connections with TLS"),
        boolean("plainConnAllowLogin", False, "Allow the clear-text login command on connections without TLS"),
    )
