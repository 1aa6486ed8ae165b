"""Context server (POP-03, STO-02, STO-03, SMO-15 and what the whole node shares)."""

from __future__ import annotations

from mailstead.settings.declaration import Context, Kind, Reload, Setting, boolean, choice_set, integer, text, words

SERVICES = (
    "processing",
    "smtpIncoming",
    "smtpOutgoing",
    "pop3",
    "imap",
    "managesieve",
    "webmail",
    "log",
    "cli",
    "webadmin",
    "reporting",
    "ftpBackup",
    "rpop",
    "pop3Proxy",
    "imapProxy",
    "webmailProxy",
)

CONTEXT = Context(
    "server",
    (
        text("serverName", "", "Name of this server; empty = the host's", longest=255),
        text("primaryDomain", "", "Domain of bare user names", longest=255),
        choice_set(
            "services",
            ("processing", "smtpIncoming", "smtpOutgoing", "pop3", "imap", "managesieve", "log", "cli", "webadmin"),
            SERVICES,
            "Services that run",
        ),
        boolean("allowAliasLogins", True, "Let accounts log in by alias or domain alias"),
        boolean("pop3ExclusiveLock", True, "One POP3 session for each mailbox"),
        boolean("recoverableSecrets", False, "Keep passwords recoverable, which CRAM-MD5 needs", since="0.1"),
        boolean("upgradePasswordHashes", True, "Renew imported password hashes with argon2id at login", since="0.1"),
        boolean("enableSRS", False, "Rewrite senders of forwarded mail"),
        Setting("srsSecretKey", Kind.SECRET, "", "Key of the rewriting; empty = made at need", maximum=255),
        Setting("serverSecretKey", Kind.SECRET, "", "Key of tokens; empty = made at need", maximum=255),
        text("defaultLanguage", "en", "Language where none is chosen", longest=16),
        boolean("autodetectLanguage", True, "Take the language from the browser"),
        words("allowedLanguages", (), "Languages on offer; empty = all"),
        text("defaultTimezone", "UTC", "Time zone where none is chosen", longest=64),
        text("brandingName", "", "Product name on web pages", longest=128),
        text("templatesPath", "templates", "Directory of message templates", longest=4096),
        integer("sslHandshakeTimeout", 10, 1, 600, "Wait for a TLS handshake", "seconds"),
        integer("maxIndexingThreads", 2, 0, 50, "Processes of the search index, as far as it has use for them; 0 = off"),
        boolean("indexAttachments", False, "Make the text of attached documents searchable", since="0.2"),
        integer("memoryBudget", 512, 64, 1_048_576, "Memory that caches and pools may use", "MB", reload=Reload.RESTART),
        integer("retentionDays", 14, 0, 3650, "How long deleted messages can be restored", "days"),
        integer("compactionFill", 50, 1, 99, "A log segment emptier than this is rewritten", "percent"),
        integer("metricsPort", 9100, 0, 65_535, "Local port of the metrics; 0 = off", reload=Reload.RESTART),
        boolean("enableIOSynchronization", False, "Kept for compatibility: accepted mail is always synced"),
        boolean("sendStatisticsEmail", False, "Send usage statistics to the postmaster"),
        boolean("enableStorageStatistics", True, "Keep statistics of the store"),
        boolean("enableTnefCommand", True, "Unpack TNEF attachments"),
        text("caBundlePath", "", "Trusted certificate authorities; empty = the system's", longest=4096),
        integer("guardPeerFailures", 30, 0, 1_000_000, "Failed logins of one peer before it waits; 0 = off"),
        integer("guardAccountFailures", 50, 0, 1_000_000, "Failed logins of one account before it waits; 0 = off"),
        integer("guardInterval", 600, 1, 86_400, "Time in which failed logins count", "seconds"),
    ),
    permission="manageServerConfig",
    help="The whole server",
)
