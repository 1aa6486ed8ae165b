"""Maintenance of the server: COMPACT, SmtpFilters, certificates, cluster, the tree of backups, defaults of connectors.

Invariants: what this server has no part for says so in words, and changes nothing.
"""

from __future__ import annotations

import asyncio
from typing import Any

from mailstead.admin_cli.context import CliContext, Command, DoneContext, Result, anywhere, command, make, needs
from mailstead.admin_cli.contexts.services import enter
from mailstead.admin_cli.contexts.storage import storage_commands
from mailstead.admin_cli.contexts.tasks import start, task_commands
from mailstead.admin_cli.grammar import MAX_TEXT, CommandError
from mailstead.admin_cli.registry import date_of
from mailstead.admin_cli.responses import Reply, lines_of, quoted, show, table
from mailstead.admin_cli.syntax import Arguments
from mailstead.restoring.labels import BackupLabels

SMTP_FILTERS = "smtpFilters"
_ALONE = (
    "this server stands alone: this release has no cluster, and no other node is known; runMode, clusterKey and the addresses are "
    "kept for the release that has one"
)
_CERTIFICATES = (
    "this release does not order certificates; have one issued by another ACME client, put its chain and key into one PEM file "
    "under certs/ (mode 600), and name it in certFile of the listener's SSLCONTROL; a file that is replaced is taken within half a "
    "minute"
)
_NONE_ORDERED = "this release does not order certificates, so there is none to revoke; revoke it where it was issued"
_NO_TERMS = "terms: expected accept or yes: an authority issues nothing to who does not accept its terms"


def server_commands() -> list[Command]:
    """For the server's context."""
    manage = needs("manageServerConfig")
    return [
        *storage_commands("manageServerConfig", server=True),
        make("COMPACT ServerStorage [forced]", "gives back the space of what nobody wants any more", _compact, allowed=manage),
        *task_commands("COMPACT", "compact", manage),
        make("UPDATE SmtpFilters [<path>]", "sets the rules mail is taken by", _update_filters, allowed=manage),
        make("SHOW SmtpFilters [<path>]", "shows them, or writes them to a file", _show_filters, allowed=manage),
        make("CONFIG CERTS", "enters certificates that are ordered", enter(CertsContext), allowed=manage),
    ]


async def _compact(context: CliContext, arguments: Arguments) -> Result:
    return await start(context, "compact", forced="forced" in arguments.flags)


def _need_everything(context: CliContext) -> None:
    if not context.session.actor.everything:
        raise CommandError("only an administrator with every right may name a file")


async def _update_filters(context: Any, arguments: Arguments) -> Result:
    """From a file under the data directory, or as a text; waits for COMMIT."""
    if "path" in arguments:
        _need_everything(context)
        path = context.session.services.data_dir / arguments["path"]
        try:
            octets = await asyncio.to_thread(_read, path)
            text = octets.decode("utf-8")
        except (OSError, ValueError) as error:
            raise CommandError(f"the file cannot be read: {getattr(error, 'strerror', None) or 'it is not UTF-8'}") from error
        context.begin()
        context.keep_content(SMTP_FILTERS, text)
        return None

    async def take(text: str) -> Reply | None:
        context.begin()
        context.keep_content(SMTP_FILTERS, text)
        return None

    context.session.take_text(take)
    return None


def _read(path: Any) -> bytes:
    with open(path, "rb") as stream:
        octets: bytes = stream.read(MAX_TEXT + 1)
    if len(octets) > MAX_TEXT:
        raise OSError(27, f"it has more than {MAX_TEXT} octets")
    return octets


async def _show_filters(context: Any, arguments: Arguments) -> Result:
    text = context.content(SMTP_FILTERS) or ""
    if "path" in arguments:
        _need_everything(context)
        path = context.session.services.data_dir / arguments["path"]

        def write() -> None:
            with open(path, "x", encoding="utf-8") as stream:
                stream.write(text)

        try:
            await asyncio.to_thread(write)
        except (OSError, ValueError) as error:
            raise CommandError(f"the file cannot be written: {getattr(error, 'strerror', None) or error}") from error
        return Reply(notes=(f"written to {path}",))
    return Reply(lines_of(text))


class CertsContext(DoneContext):
    """`<server-certs#>`."""

    name = "server-certs"
    title = "CERTS"

    @command("GENERATE letsencrypt hostname <hostname> terms <accept|yes> [contact <email>]", "would order a certificate")
    def order(self, arguments: Arguments) -> Result:
        """Nothing is ordered yet (CRT-01)."""
        if arguments["terms"].lower() not in ("accept", "yes"):
            raise CommandError(_NO_TERMS)
        raise CommandError(_CERTIFICATES)

    @command("REVOKE letsencrypt hostname <hostname>", "would revoke one that was ordered")
    def revoke(self, arguments: Arguments) -> Result:
        """Nothing was ordered."""
        raise CommandError(_NONE_ORDERED)


# -- CLUSTER -------------------------------------------------------------------------------------------------------


def cluster_commands() -> list[Command]:
    """For CLUSTER."""
    return [
        make("SHOW STATUS", "shows the node's part in the cluster", _status),
        make("SHOW configSynchronizer <configSynchronizerName>", "shows who gets the configuration", _alone),
        make("LIST userMap cache", "lists accounts of other nodes that are known", _empty("The list of users:", "user", "host")),
        make("LIST hostDefinition cache", "lists other nodes that are known", _empty("The list of hosts:", "host", "address")),
        make("LIST configSynchronizers", "lists who gets the configuration", _empty("The list of synchronizers:", "name", "state")),
        make("UPDATE userMap cache [<addresses...>]", "looks accounts up anew", _alone),
        make("UPDATE hostDefinition cache [<addresses...>]", "looks nodes up anew", _alone),
        make("UPDATE config <configSynchronizerName>", "sends the configuration", _alone),
        make(
            "JOIN <clusterKey> runMode <frontEnd|backEnd> [via <hostAddress>] [as <selfHostAddress>] [waitSync]",
            "joins a cluster", _alone,
        ),
    ]  # fmt: skip


def _status(context: CliContext, arguments: Arguments) -> Result:
    settings = context.session.services.settings.service("cluster")
    return show(
        [("runMode", str(settings.runMode)), ("nodes", "1"), ("state", quoted("stand-alone"))], "Cluster status:",
    )  # fmt: skip


def _alone(context: CliContext, arguments: Arguments) -> Result:
    raise CommandError(_ALONE)


def _empty(title: str, *headings: str) -> Any:
    return lambda context, arguments: table(title, headings, ())


# -- FTP-BACKUP ----------------------------------------------------------------------------------------------------


def backup_tree_commands() -> list[Command]:
    """For FTP-BACKUP: the tree that can be mounted, and the labels of backups."""
    mount = "FILESYSTEM mount <mountPoint> [since <backupLabel>] [backup <backupLabel>] [noremoved] [domain <name>]"
    scope = "[publicFolder <folderPath>] [publicFolder] [object <name>] [folder <folderPath>]"
    labels = anywhere("backupDomain")
    return [
        make(f"{mount} {scope}", "mounts the tree of backups, or what a label left out", _mount,
             listed=anywhere("backupDomain", "restoreDomain")),
        make("FILESYSTEM unmount <mountPoint>", "unmounts it", _unmount),
        make("FILESYSTEM status [<mountPoint>]", "shows what is mounted", _mounted),
        make("LIST BACKUPS [from] [domain <name>]", "lists labels of backups", _labels, listed=labels),
        make("REMOVE BACKUP <label> [from] [domain <name>]", "forgets a label", _remove_label, listed=labels),
        make("PURGE BACKUPS [from] [domain <name>]", "forgets all labels", _forget_labels, listed=labels),
    ]  # fmt: skip


async def _mount(context: CliContext, arguments: Arguments) -> Result:
    """`noremoved` says nothing without `since`: a whole tree has no removals."""
    public = "publicfolder" in arguments or "publicfolder" in arguments.flags
    if public and "folder" in arguments:
        raise CommandError("the folder of publicFolder stands behind that word")
    place = await context.session.services.background.call(
        "mounts.mount",
        administrator=context.session.actor.name,
        point=arguments["mountpoint"],
        since=arguments.get("since", ""),
        label=arguments.get("backup", ""),
        removals="noremoved" not in arguments.flags,
        domain=arguments.get("domain", ""),
        public=public,
        object=arguments.get("object", ""),
        folder=arguments.get("publicfolder", "") if public else arguments.get("folder", ""),
    )
    return Reply(notes=(f"mounted at {place}",))


async def _unmount(context: CliContext, arguments: Arguments) -> Result:
    await context.session.services.background.call(
        "mounts.unmount", administrator=context.session.actor.name, point=arguments["mountpoint"]
    )
    return None


async def _mounted(context: CliContext, arguments: Arguments) -> Result:
    point = arguments.get("mountpoint", "")
    found = await context.session.services.background.call(
        "mounts.status", administrator=context.session.actor.name, point=point
    )  # fmt: skip
    rows = [
        (
            one["mountPoint"], one["scope"], one["since"] or "-", one["backup"] or "-", one["administrator"],
            date_of(int(one["time"] * 1_000_000)), one["state"],
        )
        for one in found
    ]  # fmt: skip
    if point:
        words = ("mountPoint", "scope", "since", "backup", "administrator", "time", "state")
        removed = [("removed", "shown" if found[0]["removed"] else "not shown")]
        return show([*((word, quoted(value)) for word, value in zip(words, rows[0], strict=True)), *removed], "Mounted tree:")
    return table("The list of mounted trees:", ("mountPoint", "scope", "since", "backup", "administrator", "time", "state"), rows)


def _store(context: CliContext) -> BackupLabels:
    return BackupLabels(context.session.services.directory)


def _labels(context: CliContext, arguments: Arguments) -> Result:
    found = _store(context).labels(arguments.get("domain", ""), actor=context.session.actor)
    rows = [(one.name, one.domain or "*", date_of(one.time * 1_000_000)) for one in found]
    return table("The list of backups:", ("label", "domain", "time"), rows)


async def _remove_label(context: CliContext, arguments: Arguments) -> Result:
    await _store(context).remove(arguments["label"], arguments.get("domain", ""), actor=context.session.actor)
    return None


async def _forget_labels(context: CliContext, arguments: Arguments) -> Result:
    count = await _store(context).purge(arguments.get("domain", ""), actor=context.session.actor)
    return Reply(notes=(f"{count} labels forgotten",))


# -- USERDB --------------------------------------------------------------------------------------------------------


def connector_default_commands() -> list[Command]:
    """For USERDB: no connector for meetings any more."""
    return [
        make(f"RESET {name}", "sets none", _reset_default(name)) for name in ("defaultZoomConnector", "defaultTeamsConnector")
    ]


def _reset_default(name: str) -> Any:
    def handler(context: Any, arguments: Arguments) -> Result:
        setting = context.setting_named(name)
        assert setting is not None
        context.begin()
        context.keep_value(setting, None)
        return None

    return handler
