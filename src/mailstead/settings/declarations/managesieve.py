"""Context managesieve (RFC 5804)."""

from __future__ import annotations

from mailstead.settings.declaration import Context, Reload, integer
from mailstead.settings.declarations import service_model as service

CONTEXT = Context(
    "managesieve",
    (
        *service.threads(),
        *service.errors(),
        *service.logging(),
        *service.user_database(),
        *service.authentication(),
        integer("loginTimeout", 60, 1, 3600, "Wait for the login", "seconds", reload=Reload.NEW_SESSIONS),
    ),
    permission="manageIMAP",
    help="Keeping of Sieve scripts",
)
