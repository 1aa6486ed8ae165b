"""Every setting of the server, one module per context."""

from __future__ import annotations

from collections.abc import Mapping

from mailstead.settings.declaration import Context
from mailstead.settings.declarations import (
    account,
    dnr,
    domain,
    imap,
    listener,
    log,
    managesieve,
    pop3,
    processing,
    server,
    smtp_incoming,
    smtp_outgoing,
)

SERVICE_CONTEXTS: Mapping[str, Context] = {
    module.CONTEXT.name: module.CONTEXT
    for module in (server, smtp_incoming, smtp_outgoing, imap, pop3, managesieve, processing, log, dnr)
}
"""Contexts that exist once on a server."""

LISTENER = listener.CONTEXT
ACCESS_LIMITS = listener.ACCESS_LIMITS
DOMAIN = domain.CONTEXT
ACCOUNT = account.CONTEXT

LISTENING_SERVICES = frozenset({"smtpIncoming", "imap", "pop3", "webmail", "webadmin", "cli", "ftpBackup", "managesieve", "global"})
"""Services that may have listeners; `global` has only access rules."""
