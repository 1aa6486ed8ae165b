"""Context pop3 (POP-01..04); the maildrop lock is `server.pop3ExclusiveLock`."""

from __future__ import annotations

from mailstead.settings.declaration import Context, Reload, integer, text
from mailstead.settings.declarations import service_model as service

CONTEXT = Context(
    "pop3",
    (
        *service.threads(),
        *service.errors(),
        *service.logging(),
        *service.user_database(),
        *service.authentication(),
        *service.login(),
        text("greetingsText", "Mailstead POP3 server on %D ready %U", "Greeting; %D = listener, %U = unique id"),
        integer("loginTimeout", 60, 1, 3600, "Wait for the login", "seconds", reload=Reload.NEW_SESSIONS),
        integer("loginDelay", 0, 0, 86_400, "Time that must pass between two logins of an account; 0 = none", "seconds"),
        integer("expireDays", 0, 0, 36_500, "EXPIRE shown by CAPA; 0 = NEVER", "days"),
    ),
    permission="managePOP3",
    help="POP3 access to mailboxes",
)
