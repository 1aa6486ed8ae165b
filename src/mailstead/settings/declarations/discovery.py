"""Contexts autodiscovery and autodiscoveryUrls (AUD-01); a domain has URLs of its own."""

from __future__ import annotations

from mailstead.settings.declaration import Context, Kind, boolean, form

AUTODISCOVERY = Context(
    "autodiscovery",
    (
        boolean("enableIMAPAutodiscovery", True, "Tell clients of IMAP"),
        boolean("enablePOP3Autodiscovery", False, "Tell clients of POP3"),
        boolean("enableSMTPAutodiscovery", True, "Tell clients of submission"),
        boolean("enableWebdavAutodiscovery", True, "Tell clients of CalDAV and CardDAV"),
    ),
    permission="manageServerConfig",
    help="What clients are told about this server",
)

URLS = (
    form("httpAutodiscoveryUrl", Kind.URL, "", "URL of WebMail; empty = by the listeners", choices=("http", "https")),
    form("imapAutodiscoveryUrl", Kind.URL, "", "URL of IMAP; empty = by the listeners", choices=("imap", "imaps")),
    form("pop3AutodiscoveryUrl", Kind.URL, "", "URL of POP3; empty = by the listeners", choices=("pop3", "pop3s", "pop")),
    form(
        "smtpAutodiscoveryUrl", Kind.URL, "", "URL of submission; empty = by the listeners",
        choices=("smtp", "smtps", "submission", "submissions"),
    ),
    form("webdavAutodiscoveryUrl", Kind.URL, "", "URL of WebDAV; empty = by the listeners", choices=("http", "https")),
)  # fmt: skip

DEFAULT_URLS = Context("autodiscoveryUrls", URLS, permission="manageServerConfig", help="Addresses that clients are told")
DOMAIN_URLS = Context(
    "domainAutodiscoveryUrls", URLS, permission="manageDomainConfig", help="Addresses that the domain's clients are told",
    scope="domainConfig", prefixed=True,
)  # fmt: skip
