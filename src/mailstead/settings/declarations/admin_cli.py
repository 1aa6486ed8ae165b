"""Context cli: the administration protocol."""

from __future__ import annotations

from mailstead.settings.declaration import Context, Reload, boolean, integer
from mailstead.settings.declarations import service_model as service

CONTEXT = Context(
    "cli",
    (
        *service.threads(),
        *service.errors(),
        *service.logging(),
        integer("maxAuthCommands", 20, 1, 10_000, "Commands in a session before the login"),
        boolean("allowStartTLS", True, "Offer TLS on plain connections", reload=Reload.NEW_SESSIONS, since="0.2"),
        integer("loginTimeout", 60, 1, 3600, "Wait for the login", "seconds", reload=Reload.NEW_SESSIONS, since="0.2"),
    ),
    permission="manageCLI",
    help="Administration protocol",
)
