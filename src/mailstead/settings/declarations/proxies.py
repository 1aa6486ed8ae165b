"""Contexts of the proxies (CLU-05..07, CLU-09), of their connections and mappings, and of remote POP (RPP-01)."""

from __future__ import annotations

from mailstead.settings.declaration import Context, Kind, Reload, Setting, boolean, form, integer, text
from mailstead.settings.declarations import service_model as service


def on_proxy() -> tuple[Setting, ...]:
    """CLU-07."""
    return (boolean("authenticateOnProxy", False, "Check the password here, before the back end is asked"),)


def connection_data(service_name: str, permission: str) -> Context:
    """CLU-06, named `<service>ConnectionData`."""
    return Context(
        f"{service_name}ConnectionData",
        (
            integer("rwTimeout", 400, 10, 65_535, "Wait for the back end", "seconds"),
            integer("maxConnections", 64, 1, 65_535, "Connections to one back end"),
            boolean("sslEnable", False, "Speak TLS to the back end from the first octet"),
            Setting("localInterface", Kind.ADDRESS, "0.0.0.0", "Local address of the connections"),
        ),
        permission=permission,
        help="Connections to back ends",
    )


def mapping_data(service_name: str, permission: str) -> Context:
    """CLU-05, named `<service>MappingData`."""
    return Context(
        f"{service_name}MappingData",
        (
            text("userMap", "none", "User map that names the back end; none = the one below", longest=64, names="usermap"),
            form("mappingHost", Kind.HOST, "127.0.0.1", "Back end where no map says otherwise"),
            integer("mappingPort", 1200, 1, 65_535, "Its port"),
        ),
        permission=permission,
        help="Which back end serves whom",
    )


POP3_PROXY = Context(
    "pop3Proxy",
    (
        *service.threads(),
        *service.errors(),
        *service.logging(),
        *service.user_database(),
        *on_proxy(),
        boolean("allowStartTLS", True, "Offer TLS on plain connections", reload=Reload.NEW_SESSIONS),
        text("greetingsText", "Mailstead POP3 proxy on %D ready %U", "Greeting; %D = listener, %U = unique id"),
    ),
    permission="managePOP3Proxy",
    help="POP3 in front of back ends",
)

IMAP_PROXY = Context(
    "imapProxy",
    (
        *service.threads(),
        *service.errors(),
        *service.logging(),
        *service.user_database(),
        *on_proxy(),
        boolean("allowStartTLS", True, "Offer TLS on plain connections", reload=Reload.NEW_SESSIONS),
        text("greetingsText", "Mailstead IMAP4rev1 proxy is ready", "Greeting; %D = listener, %U = unique id"),
        boolean("imapIdEnabled", True, "Answer the ID command"),
    ),
    permission="manageIMAPProxy",
    help="IMAP in front of back ends",
)

RPOP = Context(
    "rpop",
    (*service.threads(), *service.logging()),
    permission="manageRPOP",
    help="Fetching of remote POP3 mailboxes",
)

CONNECTIONS = (
    connection_data("pop3Proxy", "managePOP3Proxy"),
    connection_data("imapProxy", "manageIMAPProxy"),
    connection_data("webmailProxy", "manageWebmailProxy"),
)
MAPPINGS = (
    mapping_data("smtpIncoming", "manageSMTPIn"),
    mapping_data("pop3Proxy", "managePOP3Proxy"),
    mapping_data("imapProxy", "manageIMAPProxy"),
    mapping_data("webmailProxy", "manageWebmailProxy"),
)
