"""Every setting of the server, one module per context or family of contexts.

- SERVICE_CONTEXTS: what exists once on a server, by name (scope `service`).
- LISTENER, ACCESS_LIMITS, and for showing LISTENER_OWN and SSL_CONTROL.
- DOMAIN (scope `domainConfig`), shown as DOMAIN_OWN and ADMIN_LIMITS; DOMAIN_CONTEXTS: the named ones beside it.
- ACCOUNT (inherited), shown as ACCOUNT_PARTS; ACCOUNT_DATA_CONTEXTS: an account's own (scope `accountData`).
- RECIPIENT_CONTEXTS: what lists and folder recipients have beside their attributes (scope `recipient`).
- OBJECT_KINDS: named objects; FACTORY_OBJECTS: those that a new server has.
"""

from __future__ import annotations

from collections.abc import Mapping

from mailstead.settings.declaration import Context, ObjectKind
from mailstead.settings.declarations import (
    account,
    account_data,
    admin_cli,
    directory_objects,
    discovery,
    dnr,
    domain,
    http_services,
    imap,
    initial_account,
    list_unsubscribe,
    listener,
    log,
    managesieve,
    operations,
    pop3,
    processing,
    proxies,
    server,
    server_objects,
    smtp_incoming,
    smtp_outgoing,
)
from mailstead.settings.declarations.factory import FACTORY_OBJECTS

_HTTP = ("webmail", "webadmin", "webmailProxy")
_SERVICES = (
    server.CONTEXT, smtp_incoming.CONTEXT, smtp_outgoing.CONTEXT, imap.CONTEXT, pop3.CONTEXT, managesieve.CONTEXT,
    processing.CONTEXT, log.CONTEXT, dnr.CONTEXT, admin_cli.CONTEXT, http_services.WEBMAIL, http_services.WEBADMIN,
    http_services.WEBMAIL_PROXY, list_unsubscribe.CONTEXT,
    proxies.POP3_PROXY, proxies.IMAP_PROXY, proxies.RPOP, *operations.CONTEXTS,
)  # fmt: skip

ACCESS_CONTROLLED = (
    "smtpIncoming", "imap", "pop3", "managesieve", "cli", "webmail", "webadmin", "ftpBackup", "pop3Proxy", "imapProxy",
    "webmailProxy", "listUnsubscribe",
)  # fmt: skip
"""Services with listeners and limits of their own, which are in the context `<service>AccessControl`."""

LISTENING_SERVICES = frozenset({*ACCESS_CONTROLLED, "log", "reporting", "global"})
"""Services that may have listeners; `global` has only access rules."""

_PERMISSIONS = {context.name: context.permission for context in _SERVICES}

SERVICE_CONTEXTS: Mapping[str, Context] = {
    context.name: context
    for context in (
        *_SERVICES,
        *(listener.access_control(name, _PERMISSIONS[name], http=name in _HTTP) for name in ACCESS_CONTROLLED),
        *proxies.CONNECTIONS,
        *proxies.MAPPINGS,
        discovery.AUTODISCOVERY,
        discovery.DEFAULT_URLS,
        initial_account.SERVER,
    )
}
"""Contexts that exist once on a server."""

LISTENER = listener.CONTEXT
LISTENER_OWN = listener.LISTENER_OWN
SSL_CONTROL = listener.SSL_CONTROL
ACCESS_LIMITS = listener.ACCESS_LIMITS

DOMAIN = domain.CONTEXT
DOMAIN_OWN = domain.DOMAIN_OWN_CONTEXT
DOMAIN_LOCATIONS = domain.LOCATIONS_CONTEXT
ADMIN_LIMITS = domain.ADMIN_LIMITS_CONTEXT
DOMAIN_CONTEXTS: Mapping[str, Context] = {context.name: context for context in domain.NAMED}
"""Contexts of a domain whose rows have the context's name in front."""

ACCOUNT = account.CONTEXT
LIMITS_CONTEXT = account.LIMITS_CONTEXT
QUOTAS_CONTEXT = account.QUOTAS_CONTEXT
RESTRICTIONS_CONTEXT = account.RESTRICTIONS_CONTEXT
ADVERTISING_CONTEXT = account.ADVERTISING_CONTEXT
ACCOUNT_PARTS = (LIMITS_CONTEXT, QUOTAS_CONTEXT, RESTRICTIONS_CONTEXT, ADVERTISING_CONTEXT)

ACCOUNT_DATA = account_data.ACCOUNT_DATA
CONTACT_INFO = account_data.CONTACT_INFO
WEBMAIL_DATA = account_data.WEBMAIL_DATA
ACCOUNT_DATA_CONTEXTS: Mapping[str, Context] = {c.name: c for c in (ACCOUNT_DATA, CONTACT_INFO, WEBMAIL_DATA)}

FOLDER_RCPT_LIMITS = account_data.FOLDER_RCPT_LIMITS
LIST_LIMITS = account_data.LIST_LIMITS
LIST_QUOTAS = account_data.LIST_QUOTAS
LIST_WEBMAIL_DATA = account_data.LIST_WEBMAIL_DATA
RECIPIENT_CONTEXTS: Mapping[str, Context] = {
    c.name: c for c in (LIST_LIMITS, LIST_QUOTAS, LIST_WEBMAIL_DATA, FOLDER_RCPT_LIMITS)
}

OBJECT_KINDS: Mapping[str, ObjectKind] = {kind.name: kind for kind in (*server_objects.KINDS, *directory_objects.KINDS)}
"""Kinds of named objects, by name."""
SMS_CONNECTOR_AUTH = server_objects.SMS_CONNECTOR_AUTH
HOST_NAME_RESOLVER_OWN = Context(
    "hostNameResolver", server_objects.HOST_NAME_RESOLVER_OWN, permission="manageServerConfig", scope="object"
)

__all__ = [
    "ACCESS_CONTROLLED",
    "ACCESS_LIMITS",
    "ACCOUNT",
    "ACCOUNT_DATA",
    "ACCOUNT_DATA_CONTEXTS",
    "ACCOUNT_PARTS",
    "ADMIN_LIMITS",
    "ADVERTISING_CONTEXT",
    "CONTACT_INFO",
    "DOMAIN",
    "DOMAIN_CONTEXTS",
    "DOMAIN_LOCATIONS",
    "DOMAIN_OWN",
    "FACTORY_OBJECTS",
    "FOLDER_RCPT_LIMITS",
    "HOST_NAME_RESOLVER_OWN",
    "LIMITS_CONTEXT",
    "LISTENER",
    "LISTENER_OWN",
    "LISTENING_SERVICES",
    "LIST_LIMITS",
    "LIST_QUOTAS",
    "LIST_WEBMAIL_DATA",
    "OBJECT_KINDS",
    "QUOTAS_CONTEXT",
    "RECIPIENT_CONTEXTS",
    "RESTRICTIONS_CONTEXT",
    "SERVICE_CONTEXTS",
    "SMS_CONNECTOR_AUTH",
    "SSL_CONTROL",
    "WEBMAIL_DATA",
]
