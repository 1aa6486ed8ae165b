"""Contexts that releases before the contract's had at the root, for programs of that time: COMMANDS, REPORTING, MIGRATION.

Invariants: what they do is done at once, with the rights that its place of today asks for, and HELP in them shows what these allow;
HELP at the root does not name them.
"""

from __future__ import annotations

import asyncio
import time

from mailstead.admin_cli.context import CliContext, Command, Result, SubContext, command, make, needs, run_now
from mailstead.admin_cli.contexts.queue import QueueContext
from mailstead.admin_cli.contexts.root_domains import migration_status
from mailstead.admin_cli.contexts.services import running_step
from mailstead.admin_cli.contexts.storage import boxes
from mailstead.admin_cli.grammar import CommandError
from mailstead.admin_cli.responses import Reply, show, table
from mailstead.admin_cli.syntax import Arguments
from mailstead.queue.queue_index import QueueIndex
from mailstead.settings.declarations import SERVICE_CONTEXTS

_SERVICES = SERVICE_CONTEXTS["server"].setting("services")


def _runs_services(context: CliContext) -> bool:
    declared = (SERVICE_CONTEXTS[word] for word in SERVICE_CONTEXTS if word in _SERVICES.choices)
    return any(context.session.actor.may(one.permission) for one in declared)


_PROCESSING, _REPORTING = needs("manageProcessing"), needs("manageReporting")


class CommandsContext(SubContext):
    """`<commands#>`."""

    name = "commands"
    title = "COMMANDS"

    @command("START Service [name] <name>", "starts a service at once", listed=_runs_services)
    async def start_service(self, arguments: Arguments) -> Result:
        """START Service."""
        return await self._run(arguments["name"], on=True)

    @command("STOP Service [name] <name>", "stops a service at once", listed=_runs_services)
    async def stop_service(self, arguments: Arguments) -> Result:
        """STOP Service."""
        return await self._run(arguments["name"], on=False)

    async def _run(self, name: str, *, on: bool) -> Result:
        known = {word.lower(): word for word in SERVICE_CONTEXTS if word in _SERVICES.choices}
        service = known.get(name.lower())
        if service is None:
            raise CommandError(f"there is no service {name[:80]}; the services are {' '.join(sorted(known.values()))}")
        self.session.actor.require(SERVICE_CONTEXTS[service].permission)
        if service == "cli" and not on:
            raise CommandError("the service cli cannot be stopped from here")
        step = running_step(service, on, self.session.actor.name)
        await run_now(self, lambda pending: pending.add(step))
        return None

    @command("FORCE QUEUE", "tries every message now", listed=_PROCESSING)
    async def force_queue(self, arguments: Arguments) -> Result:
        """FORCE QUEUE."""
        return await self._queue().try_all()

    @command("VIEW QUEUE", "lists the messages of the queue", listed=_PROCESSING)
    async def view_queue(self, arguments: Arguments) -> Result:
        """VIEW QUEUE."""
        return await self._queue().whole_list()

    def _queue(self) -> QueueContext:
        self.session.actor.require("manageProcessing")
        return QueueContext(self.session, self)

    @command("VIEW COUNTERS all|others|domain", "shows figures of the server, of its domains, or both", listed=_REPORTING)
    async def view_counters(self, arguments: Arguments) -> Result:
        """VIEW COUNTERS."""
        self.session.actor.require("manageReporting")
        wanted = arguments.flags
        body: list[str] = []
        if "domain" not in wanted:
            index = QueueIndex(self.session.services.store.queue_index)
            messages, due, deferred = await asyncio.to_thread(index.counts, int(time.time()))
            domains = self.session.services.directory.domains()
            pairs = [("queueMessages", str(messages)), ("queueDue", str(due)), ("queueScheduled", str(deferred)),
                     ("domains", str(len(domains)))]  # fmt: skip
            body += show(pairs, "Counters of the server:").body
        if "others" not in wanted:
            rows: dict[str, list[int]] = {}
            for box in await boxes(self):
                figures = rows.setdefault(box.name.rpartition("@")[2], [0, 0, 0])
                figures[0] += 1
                figures[1] += box.use.messages
                figures[2] += box.use.octets
            body += table(
                "Counters of domains:", ("domain", "mailboxes", "messages", "octets"),
                [(name, *map(str, figures)) for name, figures in sorted(rows.items())],
            ).body  # fmt: skip
        return Reply(body)


class ReportingContext(CommandsContext):
    """`<reporting#>`."""

    name = "reporting"
    title = "REPORTING"


class MigrationContext(CommandsContext):
    """`<migration#>`."""

    name = "migration"
    title = "MIGRATION"

    @classmethod
    def extra_commands(cls) -> list[Command]:
        """Beside those of the others."""
        return [*super().extra_commands(), make("SHOW MigrationStatus", "shows migrations that run", migration_status)]
