"""`<server#>` and what lies below it, but for the queue, storage and statistics.

Invariants: settings of the server wait for its COMMIT; parts with DONE hand theirs up to it; each part needs its own
permission.
"""

from __future__ import annotations

from typing import Any

from mailstead.admin_cli.attributes import AttributeContext
from mailstead.admin_cli.context import (
    CliContext,
    Command,
    CommitContext,
    DoneContext,
    Result,
    command,
    make,
    needs,
    only,
)
from mailstead.admin_cli.contexts.branding import branding_commands
from mailstead.admin_cli.contexts.permissions import ServerPermissionsContext
from mailstead.admin_cli.contexts.save import save_commands, show_config
from mailstead.admin_cli.contexts.server_maintenance import (
    backup_tree_commands,
    cluster_commands,
    connector_default_commands,
)
from mailstead.admin_cli.contexts.server_objects import (
    ldap_commands,
    log_rule_commands,
    nameserver_commands,
    oauth_commands,
    sms_commands,
    usermap_commands,
)
from mailstead.admin_cli.contexts.services import (
    ControlledContext,
    ListeningContext,
    ServiceContext,
    enter,
    log_only,
    part,
    redirect_commands,
    resolver_commands,
    service,
    service_owner,
)
from mailstead.admin_cli.contexts.statistics import processing_commands
from mailstead.admin_cli.objects import object_commands
from mailstead.admin_cli.responses import show
from mailstead.admin_cli.syntax import Arguments
from mailstead.settings.declarations import OBJECT_KINDS, SERVICE_CONTEXTS


def _mapping(service_name: str, prompt: str) -> Command:
    title = "mappingData"
    kind = part(title, f"{service_name}MappingData", f"server-{prompt}-mappingData")
    return make("CONFIG mappingData", "enters which back end serves whom", enter(kind))


def _connection(service_name: str, prompt: str) -> Command:
    kind = part("connectionData", f"{service_name}ConnectionData", f"server-{prompt}-connectionData")
    return make("CONFIG connectionData", "enters the connections to back ends", enter(kind))


_TRAPS = object_commands(
    OBJECT_KINDS["snmpTrapDestination"], "SNMPTrapDestination", "SNMPTrapDestinations", None, service_owner("manageReporting"),
    key_word=False, title="The list of SNMP trap destinations:",
)  # fmt: skip
_NODES = object_commands(
    OBJECT_KINDS["clusterAddress"], "clusterAddress", "clusterAddresses", None, service_owner("manageCluster"),
    key_word=False, title="The list of cluster addresses:",
)  # fmt: skip


def _done(word: str, declared: str, name: str, more: list[Command] | None = None) -> type[AttributeContext]:
    own = list(more or [])

    def extra_commands(cls: type) -> list[Command]:
        return [*super(made, cls).extra_commands(), *own]  # type: ignore[misc]

    members: dict[str, object] = {
        "__doc__": f"`<{name}#>`.", "name": name, "title": word, "declaration": SERVICE_CONTEXTS[declared],
        "extra_commands": classmethod(extra_commands),
    }  # fmt: skip
    made: type[AttributeContext] = type(word, (AttributeContext, DoneContext), members)
    return made


_PROCESSING = processing_commands()
_BACKUPS = backup_tree_commands()
_CONNECTORS = [*ldap_commands(), *oauth_commands(), *connector_default_commands()]
_URLS = _done("defaultUrls", "autodiscoveryUrls", "server-autodiscovery-defaultUrls")


def _show_urls(context: CliContext, arguments: Arguments) -> Result:
    return show(_URLS(context.session, context).shown_pairs())


#: Word of CONFIG, the class, and the permission it needs.
PARTS: tuple[tuple[str, type[CliContext], str], ...] = (
    ("LOG", service("LOG", "log", "log", ListeningContext, more=log_rule_commands()), "manageLog"),
    ("CLI", service("CLI", "cli", "cli", ControlledContext), "manageCLI"),
    ("RPOP", service("RPOP", "rpop", "rpop", ServiceContext), "manageRPOP"),
    (
        "SMTP-INCOMING",
        service(
            "SMTP-INCOMING", "smtpIncoming", "smtpIncoming", ControlledContext, more=[_mapping("smtpIncoming", "smtpIncoming")]
        ),
        "manageSMTPIn",
    ),
    ("SMTP-OUTGOING", service("SMTP-OUTGOING", "smtpOutgoing", "smtpOutgoing", ServiceContext), "manageSMTPOut"),
    ("PROCESSING", service("PROCESSING", "processing", "processing", ServiceContext, more=_PROCESSING), "manageProcessing"),
    ("POP3", service("POP3", "pop3", "pop3", ControlledContext), "managePOP3"),
    ("IMAP", service("IMAP", "imap", "imap", ControlledContext), "manageIMAP"),
    ("MANAGESIEVE", service("MANAGESIEVE", "managesieve", "managesieve", ControlledContext), "manageIMAP"),
    (
        "WEBMAIL",
        service(
            "WEBMAIL", "webmail", "webmail", ControlledContext,
            more=[*redirect_commands("webmail", "manageWebMail"), *resolver_commands("webmail", "manageWebMail")],
        ),
        "manageWebMail",
    ),
    (
        "WEBADMIN",
        service("WEBADMIN", "webadmin", "webadmin", ControlledContext, more=redirect_commands("webadmin", "manageWebAdmin")),
        "manageWebAdmin",
    ),
    ("FTP-BACKUP", service("FTP-BACKUP", "ftpBackup", "ftpBackup", ControlledContext, more=_BACKUPS), "manageFTPBackup"),
    ("DNR", service("DNR", "dnr", "dnr", ServiceContext, more=nameserver_commands(), startable=False), "manageDNR"),
    ("REPORT", service("REPORT", "report", "reporting", ListeningContext, more=_TRAPS), "manageReporting"),
    (
        "POP3-Proxy",
        service(
            "POP3-Proxy", "pop3Proxy", "pop3Proxy", ControlledContext,
            more=[_connection("pop3Proxy", "pop3Proxy"), _mapping("pop3Proxy", "pop3Proxy")],
        ),
        "managePOP3Proxy",
    ),
    (
        "IMAP-Proxy",
        service(
            "IMAP-Proxy", "imapProxy", "imapProxy", ControlledContext,
            more=[_connection("imapProxy", "imapProxy"), _mapping("imapProxy", "imapProxy")],
        ),
        "manageIMAPProxy",
    ),
    (
        "WEBMAIL-Proxy",
        service(
            "WEBMAIL-Proxy", "webmailProxy", "webmailProxy", ControlledContext,
            more=[
                _connection("webmailProxy", "webmailProxy"), _mapping("webmailProxy", "webmailProxy"),
                *redirect_commands("webmailProxy", "manageWebmailProxy"),
                *resolver_commands("webmailProxy", "manageWebmailProxy"),
            ],
        ),
        "manageWebmailProxy",
    ),
    (
        "USERDB",
        service(
            "USERDB", "userdb", "", ServiceContext, more=_CONNECTORS, startable=False, declared="userDb"
        ),
        "manageAuthentication",
    ),
    ("MOBILITY", service("MOBILITY", "mobility", "", ServiceContext, startable=False, declared="mobility"), "manageWebMail"),
    ("CLUSTER", _done("CLUSTER", "cluster", "server-cluster", [*_NODES, *cluster_commands()]), "manageCluster"),
    (
        "InitialAccountSettings",
        _done("InitialAccountSettings", "initialAccountSettings", "server-initialAccountSettings"),
        "manageServerConfig",
    ),
    (
        "AUTODISCOVERY",
        _done(
            "AUTODISCOVERY", "autodiscovery", "server-autodiscovery",
            [
                make("CONFIG defaultUrls", "enters the addresses clients are told", enter(_URLS)),
                make("SHOW defaultUrls", "shows the addresses clients are told", _show_urls),
            ],
        ),
        "manageServerConfig",
    ),
    ("CALLOG", log_only("CALLOG", "callog", "callog"), "manageLog"),
    ("SECURITY", log_only("SECURITY", "security", "security"), "manageLog"),
    ("JOBLOG", log_only("JOBLOG", "joblog", "joblog"), "manageLog"),
    ("MAILBOXAPI", log_only("MAILBOXAPI", "mailboxapi", "mailboxApi"), "manageLog"),
    ("SRVLOG", log_only("SRVLOG", "srvlog", "srvlog"), "manageLog"),
    ("PERMISSIONS", ServerPermissionsContext, "manageAdminACL"),
)  # fmt: skip


class ServerContext(AttributeContext, CommitContext):
    """`<server#>`."""

    name = "server"
    title = "SERVER"
    declaration = SERVICE_CONTEXTS["server"]

    def __init__(self, session: Any, parent: CliContext) -> None:
        super().__init__(session, parent)
        self.begin()

    @command("SHOW Config", "shows the running configuration", allowed=needs("manageServerConfig"))
    async def show_config(self, arguments: Arguments) -> Result:
        """SHOW Config."""
        return await show_config(self, arguments)

    @command("RESET", "drops what waits")
    def reset(self, arguments: Arguments) -> Result:
        """RESET."""
        self.pending.clear()
        self.begin()
        return None

    @classmethod
    def extra_commands(cls) -> list[Command]:
        """CONFIG of the parts, named objects, branding, and what other modules add."""
        from mailstead.admin_cli.contexts import server_more  # its contexts lead back here

        parts = [
            make(f"CONFIG {word}", f"enters {word}", enter(kind), allowed=needs(permission))
            for word, kind, permission in PARTS
        ]
        own = only(
            needs("manageServerConfig"),
            [*super().extra_commands(), *save_commands(), *sms_commands(), *branding_commands(server=True)],
        )
        return [*own, *parts, *only(needs("manageCluster"), usermap_commands()), *server_more.commands()]
