"""Context listUnsubscribe: the web address by which members leave mailing lists (RFC 8058, LST-01)."""

from __future__ import annotations

from mailstead.settings.declaration import Context
from mailstead.settings.declarations import service_model as service

CONTEXT = Context(
    "listUnsubscribe",
    (*service.errors(), *service.logging()),
    permission="manageWebMail",
    help="One-click unsubscribing from mailing lists",
)
