"""Context imap (IMP-01..09)."""

from __future__ import annotations

from mailstead.settings.declaration import Context, Reload, boolean, integer, text
from mailstead.settings.declarations import service_model as service

CONTEXT = Context(
    "imap",
    (
        *service.threads(),
        *service.errors(),
        *service.logging(),
        *service.user_database(),
        *service.authentication(),
        *service.login(),
        text("greetingsText", "Mailstead IMAP4rev1 service is ready", "Greeting; %D = listener, %U = unique id"),
        boolean("imapIdEnabled", True, "Answer the ID command"),
        boolean("imapShowAllFolders", False, "List folders of other kinds than mail"),
        boolean("allowCompress", True, "Offer COMPRESS=DEFLATE"),
        integer("maxAppendSize", 102_400, 0, service.UNLIMITED, "Largest appended message; 0 = unlimited", "KB"),
        integer("maxLineLength", 65_536, 1024, 1_048_576, "Longest command line", "octets", reload=Reload.NEW_SESSIONS),
        integer("loginTimeout", 60, 1, 3600, "Wait for the login", "seconds", reload=Reload.NEW_SESSIONS),
    ),
    permission="manageIMAP",
    help="IMAP access to mailboxes",
)
