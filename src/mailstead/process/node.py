"""The composition root: what one process of a node is made of.

Invariants: services are opened in the order of the layers and closed in the reverse; a worker has every face and no
background duty, the background process the reverse, a single process both; a failed store ends the process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar

import apsw

from mailstead.admin_cli.server import AdminServer
from mailstead.admin_cli.services import AdminServices
from mailstead.delivery import welcome
from mailstead.delivery.host import host_name
from mailstead.delivery.lists.service import Lists
from mailstead.delivery.service import Delivery
from mailstead.directory.service import Directory
from mailstead.ftp_backup.server import FtpServer
from mailstead.ftp_backup.services import FtpServices
from mailstead.identity.administrators import AdministratorLogin
from mailstead.identity.authenticator import Authenticator
from mailstead.imap.server import ImapServer
from mailstead.imap.services import ImapServices
from mailstead.list_unsubscribe.server import ListUnsubscribeServer
from mailstead.list_unsubscribe.services import ListUnsubscribeServices
from mailstead.mailbox.service import Mailbox
from mailstead.managesieve.server import ManageSieveServer
from mailstead.managesieve.services import ManageSieveServices
from mailstead.migration.callout import RemoteRecipients
from mailstead.migration.domains import MigratingDomains
from mailstead.migration.first_login import FirstLogin
from mailstead.migration.runner import Runner
from mailstead.observe.log import fault, get_logger
from mailstead.pop3.server import Pop3Server
from mailstead.pop3.services import Pop3Services
from mailstead.process import account_duties, duties, late_modules, metrics_server, support
from mailstead.process.application import ListenerSpec, ProcessContext, StartError
from mailstead.process.background import (
    BackgroundClient,
    BackgroundMissingError,
    BackgroundRefusedError,
    BackgroundVerbs,
)
from mailstead.process.endpoints import Endpoints
from mailstead.process.host_metrics import HostMetrics
from mailstead.process.indexing import Indexing
from mailstead.process.log_listener import LogListeners
from mailstead.process.log_settings import LogSettings
from mailstead.process.maintenance import Maintenance
from mailstead.process.mounts import Mounts
from mailstead.process.outbound import Outbound
from mailstead.process.own_listeners import OwnListeners
from mailstead.process.shared_guard import SharedGuard, SharedLocks
from mailstead.process.shared_table import SharedTable
from mailstead.settings import InvalidValueError, SettingsChange, SystemDatabaseError
from mailstead.smtp.server import SmtpServer
from mailstead.smtp.services import SmtpServices
from mailstead.store.schema import SchemaTooNew
from mailstead.store.search_reader import SEGMENT_BUDGET
from mailstead.store.service import Store, prepare
from mailstead.transport.connection import Connection
from mailstead.transport.endpoint import Endpoint

log = get_logger("SERVER")

#: How soon a process notices changes that nothing it does would show it.
POLL_SECONDS = 0.08
#: How often certificate files are looked at.
CERTIFICATE_SECONDS = 30.0

#: Services with a face.
SERVICES = ("smtpIncoming", "imap", "pop3", "managesieve", "cli", "ftpBackup", "listUnsubscribe")

Factory = Callable[[Endpoint], Connection]
T = TypeVar("T")


class Node:
    """One process of the node; see process.application.Application."""

    load = staticmethod(late_modules.load)
    """See child.load_rest."""

    def __init__(self, context: ProcessContext) -> None:
        self.context = context
        self.serves = context.role in ("worker", "single")
        self.in_background = context.role in ("background", "single")
        self.directory: Directory
        self.table: SharedTable
        self.guard: SharedGuard
        self.authenticator: Authenticator
        self.store: Store
        self.mailbox: Mailbox
        self.delivery: Delivery
        self.lists: Lists
        self.outbound: Outbound | None = None
        self.logging: LogSettings
        self.background = BackgroundVerbs()
        self._endpoints: Endpoints
        self._faces: dict[str, Factory] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._closers: list[Callable[[], Awaitable[None]]] = []

    # ---- life --------------------------------------------------------------------------------------------------

    async def prepare(self) -> None:
        """Replay and seal every log and bring schemas up to date, before any process opens them."""
        if self.context.role == "single":
            SharedTable.create(self.context.data_dir / "run" / "shared.table").close()
        await _or_start_error(asyncio.to_thread(self._prepare))

    def _prepare(self) -> None:
        directory = Directory.open(self.context.data_dir)
        try:
            shards = directory.shard_count()
        finally:
            directory.close()
        prepare(self.context.data_dir, shards)

    async def start(self) -> None:
        """Open the services and make the faces."""
        await _or_start_error(self._open())
        if self.serves:
            self._make_faces()
        self._watch(self._poll(), "poll")
        self._watch(self._guard_store(), "store watch")
        self._watch(duties.accounting(self.directory), "figures of domains")
        if self.in_background:
            await self._start_background()

    async def _open(self) -> None:
        data_dir = self.context.data_dir
        self.directory = Directory.open(data_dir)
        self.table = SharedTable(data_dir / "run" / "shared.table", self.context.index)
        settings = self.directory.settings
        self.logging = LogSettings(data_dir, settings)
        self.guard = SharedGuard(self.table)
        self._configure_guard()
        self.authenticator = Authenticator(self.directory, settings, self.guard)
        self._closers.append(self.authenticator.close)
        self.store = await Store.open(data_dir, self.context.name, self.directory.shard_count(), prepared=True)
        self._closers.append(self.store.close)
        self.mailbox = Mailbox(self.store, self.directory, self.directory)
        self.directory.know_public_folders(self.mailbox.has_public_folder)
        share = (int(settings.service("server").memoryBudget) << 20) // max(1, self.context.workers)
        self.mailbox.search_reader.set_budget(max(SEGMENT_BUDGET // 2, share // 5))
        domains = MigratingDomains(self.directory)
        first_login = FirstLogin(self.directory, data_dir, domains, is_own=partial(OwnListeners(settings).has, "imap"))
        self.authenticator.unknown = first_login
        elsewhere = RemoteRecipients(domains, partial(host_name, settings, "smtpOutgoing"))
        self._closers += [first_login.close, elsewhere.close]
        self.delivery = Delivery(self.store, self.directory, self.mailbox, elsewhere=elsewhere)
        self._closers.append(self.delivery.close)
        self.lists = Lists(self.delivery)
        self.authenticator.on_login = self.delivery.alerts.look
        self._endpoints = Endpoints(data_dir, settings, self.table, SERVICES)
        settings.subscribe(self._settings_changed)

    async def stop(self) -> None:
        """Flush and close everything."""
        if self.outbound is not None:
            await self.outbound.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for close in reversed(self._closers):
            try:
                await close()
            except Exception as exc:  # the next service must be closed all the same
                fault(log, "closing failed", exc)
        self.directory.close()
        self.table.close()
        await asyncio.to_thread(self.logging.close)

    async def reload(self) -> None:
        """Settings are seen by themselves; certificates are looked at now."""
        self.logging.reopen()
        self.directory.poll()

    # ---- faces -------------------------------------------------------------------------------------------------

    def _make_faces(self) -> None:
        self._faces["smtpIncoming"] = self._smtp()
        self._faces["imap"] = self._imap()
        self._faces["pop3"] = self._pop3()
        self._faces["managesieve"] = self._managesieve()
        self._faces["listUnsubscribe"] = ListUnsubscribeServer(ListUnsubscribeServices(self.lists)).connection
        self._faces["cli"] = self._admin_cli()
        self._faces["ftpBackup"] = self._ftp_backup()

    def _smtp(self) -> Factory:
        services = SmtpServices(self.delivery, self.directory, self.authenticator, self.directory.settings)
        return SmtpServer(services).connection

    def _imap(self) -> Factory:
        budget = int(self.directory.settings.service("server").memoryBudget) << 20
        services = ImapServices(
            self.mailbox,
            self.authenticator,
            self.directory.settings,
            self.directory,
            self.locks("imap"),
            cache_octets=max(8 << 20, budget // 8 // max(1, self.context.workers)),
        )
        return ImapServer(services).connection

    def _pop3(self) -> Factory:
        services = Pop3Services(self.mailbox, self.authenticator, self.directory.settings, self.locks("pop3"), self.directory)
        return Pop3Server(services).connection

    def _managesieve(self) -> Factory:
        services = ManageSieveServices(self.mailbox, self.authenticator, self.directory.settings, self.directory)
        return ManageSieveServer(services).connection

    def _admin_cli(self) -> Factory:
        services = AdminServices(
            self.directory,
            self.directory.settings,
            AdministratorLogin(self.authenticator),
            self.mailbox,
            self.store,
            self.context.data_dir,
            self.background if self.in_background else BackgroundClient(self.context.data_dir / "run"),
            (BackgroundRefusedError, BackgroundMissingError),
        )
        return AdminServer(services).connection

    def _ftp_backup(self) -> Factory:
        administrators = AdministratorLogin(self.authenticator)
        services = FtpServices(self.directory, self.directory.settings, administrators, self.mailbox, self.store)
        return FtpServer(services).connection

    def locks(self, kind: str) -> SharedLocks:
        """Slots that sessions of all processes share."""
        return SharedLocks(self.table, kind)

    def listeners(self) -> Sequence[ListenerSpec]:
        """See process.application.Application."""
        return self._endpoints.specs()

    def endpoint(self, spec: ListenerSpec) -> tuple[Endpoint, Factory]:
        """See process.application.Application."""
        return self._endpoints.endpoint(spec), self._faces[spec.service]

    # ---- watching ----------------------------------------------------------------------------------------------

    def _watch(self, work: Awaitable[None], name: str) -> None:
        async def run() -> None:
            try:
                await work
            except Exception as exc:
                fault(log, "background duty ended", exc, duty=name)
                self.context.failed(f"{name} ended")

        self._tasks.append(asyncio.create_task(run(), name=name))

    async def _poll(self) -> None:
        loop = asyncio.get_running_loop()
        certificates = loop.time() + CERTIFICATE_SECONDS
        while True:
            await asyncio.sleep(POLL_SECONDS)
            self.directory.poll()
            if loop.time() >= certificates:
                certificates = loop.time() + CERTIFICATE_SECONDS
                self.context.changed()

    def _settings_changed(self, change: SettingsChange) -> None:
        if change.context in ("server", "*"):
            self._configure_guard()
        if change.context in ("dnr", "nameserver", "*") and self.outbound is not None:
            self.outbound.configure()
        if change.context.removesuffix("AccessControl") in ("server", "listeners", "*", *SERVICES):
            self.context.changed()

    def _configure_guard(self) -> None:
        server = self.directory.settings.service("server")
        self.guard.configure(
            peer_failures=server.guardPeerFailures,
            account_failures=server.guardAccountFailures,
            interval=float(server.guardInterval),
        )

    async def _guard_store(self) -> None:
        await self.store.broken.wait()
        self.context.failed("the log cannot be written")

    # ---- background --------------------------------------------------------------------------------------------

    async def _start_background(self) -> None:
        port = int(self.directory.settings.service("server").metricsPort)
        if port:
            server = await metrics_server.start(self.context.data_dir / "run" / "metrics", port)
            if server is not None:
                self._closers.append(_closer(server))
        data_dir, settings = self.context.data_dir, self.directory.settings
        self._watch(HostMetrics(data_dir, settings, SERVICES).run(), "figures of the machine")
        await self.background.listen(data_dir / "run")
        self._closers.append(self.background.close)
        self.outbound = outbound = Outbound(self.store, settings, self.delivery)
        self._closers.append(outbound.close)
        outbound.offer(self.background)
        self._watch(outbound.run(), "sending")
        self._watch(self.lists.expander().run(), "expansion of groups and mailing lists")
        self._watch(self.lists.run(), "mailing lists")
        self._watch(duties.checkpoints(data_dir), "checkpoints")
        self._watch(duties.expiry(data_dir, self.store, settings), "expiry")
        self._watch(LogListeners(settings, self.logging.writer).run(), "log of other servers")
        maintenance = Maintenance(data_dir, self.store, self.mailbox)
        maintenance.offer(self.background)
        support.offer(self.background, data_dir)
        mounts = Mounts(data_dir, self)
        mounts.offer(self.background)
        self._closers.append(mounts.close)
        await mounts.clean()
        self._watch(maintenance.run(), "snapshots and compaction")
        self._watch(duties.history(settings), "history of changes")
        self._watch(Indexing(data_dir, self.store, settings).run(), "search index")
        runner = Runner(self.directory, self.mailbox, data_dir, is_own=partial(OwnListeners(settings).has, "imap"))
        self._watch(runner.run(), "migrations")
        self._watch(duties.removal(self.directory, self.store, self.mailbox), "removal of deleted accounts")
        mail = self.delivery.account_mail
        self._watch(account_duties.rounds(self.directory, self.store, self.mailbox, mail), "rounds over accounts")
        self._watch(welcome.run(welcome.Welcome(self.directory, self.store, mail), self.directory), "welcomes")


def _closer(server: asyncio.Server) -> Callable[[], Awaitable[None]]:
    async def close() -> None:
        server.close()

    return close


async def _or_start_error(work: Awaitable[T]) -> T:
    """Turn what an operator can do something about into words; anything else is a fault of ours."""
    try:
        return await work
    except SystemDatabaseError as exc:
        raise StartError(f"{exc}; `mailstead doctor` says what to do") from exc
    except SchemaTooNew as exc:
        raise StartError(f"the index was written by a newer release of Mailstead: {exc}") from exc
    except apsw.Error as exc:
        raise StartError(f"the index is damaged or cannot be opened: {exc}; `mailstead fsck` says more") from exc
    except InvalidValueError as exc:
        raise StartError(f"a setting cannot be used: {exc}") from exc
    except PermissionError as exc:
        raise StartError(f"no right to use {exc.filename}") from exc
    except OSError as exc:
        raise StartError(f"the data directory cannot be used: {exc}") from exc
