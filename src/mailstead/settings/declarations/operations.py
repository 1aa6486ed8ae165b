"""Contexts of backup, reports, user database, cluster, mobility, filters, and of modules that only log."""

from __future__ import annotations

from mailstead.settings.declaration import Context, boolean, choice, integer, secret, text
from mailstead.settings.declarations import service_model as service

FTP_BACKUP = Context(
    "ftpBackup",
    (
        *service.threads(),
        *service.errors(),
        *service.logging(),
        boolean("messagesTarEnabled", False, "Show the messages of a folder as one tar file"),
        choice("nameEncoding", "utf7", ("utf7", "utf8"), "How folder names are written"),
    ),
    permission="manageFTPBackup",
    help="Backup and restore over FTP (BKP-01)",
)

REPORTING = Context(
    "reporting",
    (
        *service.logging(),
        boolean("SNMPEnable", False, "Answer SNMP"),
        boolean("SNMPSentTrapsToAllManagers", True, "Send traps to every manager that has asked"),
        secret("SNMPCommunity", "Community that may ask; empty = nobody", longest=64),
        boolean("DomainEnable", False, "Keep figures of each domain"),
        boolean("DomainObjectEnable", False, "Keep figures of each account and list"),
        integer("reportingInterval", 53, 1, 848, "How long figures are kept", "weeks"),
    ),
    permission="manageReporting",
    help="SNMP and charts (REP-01, REP-02)",
)

USER_DB = Context(
    "userDb",
    (
        *service.logging(),
        integer("maxThreads", 5, 1, 1024, "Look-ups at the same time"),
        text("defaultOAuthConnector", "", "OAuth connector of WebMail; empty = none", longest=64, names="oauthConnector"),
        text("defaultZoomConnector", "", "OAuth connector of Zoom; empty = none", longest=64, names="oauthConnector"),
        text("defaultTeamsConnector", "", "OAuth connector of Teams; empty = none", longest=64, names="oauthConnector"),
    ),
    permission="manageAuthentication",
    help="Connectors to user databases",
)

CLUSTER = Context(
    "cluster",
    (
        choice("runMode", "standAlone", ("standAlone", "frontEnd", "backEnd"), "Part of this node (CLU-03)"),
        secret("clusterKey", "Key that all nodes share", longest=1024),
    ),
    permission="manageCluster",
    help="Working with other nodes",
)

MOBILITY = Context(
    "mobility",
    (
        boolean("enableMobileWebmail", True, "Offer the interface for telephones"),
        boolean("enableActiveSync", False, "Serve ActiveSync"),
    ),
    permission="manageWebMail",
    help="Telephones",
)

FILTERS = Context("filters", service.logging(), permission="manageServerFilters", help="Filters and scanners")
CALLOG = Context("callog", service.logging(), permission="manageLog", help="Log of calendar changes")
JOBLOG = Context("joblog", service.logging(), permission="manageLog", help="Log of background jobs")
SECURITY = Context("security", service.logging(), permission="manageLog", help="Log of logins and refusals")
MAILBOX_API = Context("mailboxApi", service.logging(), permission="manageLog", help="Log of the mailbox interface")
SRVLOG = Context("srvlog", service.logging(), permission="manageLog", help="Log of the server itself")

CONTEXTS = (
    FTP_BACKUP, REPORTING, USER_DB, CLUSTER, MOBILITY, FILTERS, CALLOG, JOBLOG, SECURITY, MAILBOX_API, SRVLOG,
)  # fmt: skip
