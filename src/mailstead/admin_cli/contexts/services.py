"""Contexts of the services below SERVER: settings, START and STOP, listeners, access control, log settings.

Invariants: everything waits for the service's COMMIT and is then live in every process; START and STOP too; who lacks the
service's
permission does not see its context.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from mailstead.admin_cli.attributes import AttributeContext
from mailstead.admin_cli.context import CliContext, Command, CommitContext, DoneContext, Result, command, make
from mailstead.admin_cli.contexts.access_rules import RuleChanges, rule_commands, rule_steps
from mailstead.admin_cli.contexts.listeners import listener_commands
from mailstead.admin_cli.contexts.save import save_commands
from mailstead.admin_cli.objects import Owner, object_commands
from mailstead.admin_cli.responses import Reply
from mailstead.admin_cli.syntax import Arguments
from mailstead.settings.database import Transaction
from mailstead.settings.declaration import Context
from mailstead.settings.declarations import OBJECT_KINDS, SERVICE_CONTEXTS
from mailstead.settings.edits import Place, Step, read_values
from mailstead.settings.service import store_value

_SERVICES = SERVICE_CONTEXTS["server"].setting("services")


def running_step(service: str, on: bool, author: str) -> Step:
    """Start or stop a service; its rights were asked by the context."""

    def operation(transaction: Transaction) -> None:
        text = transaction.value("SELECT value FROM setting WHERE scope = 'service' AND scope_id = 0 AND name = 'server.services'")
        running: Any = _SERVICES.default if text is None else _SERVICES.parse(text)
        wanted = running | {service} if on else running - {service}
        store_value(transaction, author, "service", 0, "server.services", _SERVICES, _SERVICES.render(frozenset(wanted)))

    return Step(operation)


class ServiceContext(AttributeContext, CommitContext):
    """One service. `service` is its word in server.services and among the listeners."""

    service: ClassVar[str] = ""
    startable: ClassVar[bool] = True

    def __init__(self, session: Any, parent: CliContext) -> None:
        super().__init__(session, parent)
        self.rules: RuleChanges = {}
        self.removed_listeners: list[str] = []
        self.running: bool | None = None
        self.begin()

    def rules_of(self) -> tuple[str, int]:
        """The service's own rules."""
        return self.service, 0

    async def collect(self) -> None:
        """Start or stop, removed listeners, rules."""
        settings, actor = self.session.services.settings, self.session.actor
        actor.require(self.declared().permission)
        steps = [Step(settings.listener_rows.remover(self.service, address, actor)) for address in self.removed_listeners]
        steps += rule_steps(settings, self.service, 0, self.rules, actor)
        if self.running is not None:
            steps.append(running_step(self.service, self.running, actor.name))
        self.pending.add(*steps)

    @command("RESET", "drops what waits: the running configuration again")
    def reset(self, arguments: Arguments) -> Result:
        """RESET."""
        self.pending.clear()
        self.rules, self.removed_listeners, self.running = {}, [], None
        self.begin()
        return None

    @classmethod
    def extra_commands(cls) -> list[Command]:
        """START, STOP and SAVE."""
        made = [*super().extra_commands(), *save_commands()]
        if cls.startable:
            made += [
                make("START Service", "starts the service, with COMMIT", _run(True)),
                make("STOP Service", "stops the service, with COMMIT", _run(False)),
            ]
        return made


class ListeningContext(ServiceContext):
    """A service with listeners."""

    @classmethod
    def extra_commands(cls) -> list[Command]:
        """Listeners."""
        return [*super().extra_commands(), *listener_commands()]


class ControlledContext(ListeningContext):
    """A service with listeners and limits of its own."""

    @command("CONFIG AccessControl", "enters the service's own limits and rules")
    def access_control(self, arguments: Arguments) -> Result:
        """CONFIG AccessControl."""
        self.session.enter(AccessControlContext(self.session, self))
        return None


class AccessControlContext(AttributeContext, DoneContext):
    """The six limits and the rules of a service as a whole."""

    below = "access-control"
    title = "AccessControl"

    def __init__(self, session: Any, parent: Any) -> None:
        super().__init__(session, parent)
        self.service: str = parent.service
        self.rules: RuleChanges = dict(parent.rules)

    def declared(self) -> Context:
        """The service's own limits."""
        return SERVICE_CONTEXTS[f"{self.service}AccessControl"]

    def settings(self) -> Sequence[Any]:
        """All of them."""
        return self.declared().settings

    def stored(self) -> Mapping[str, str]:
        """As they are stored."""
        return read_values(self.session.services.directory.database, self.place(), self.declared())

    def rules_of(self) -> tuple[str, int]:
        """The service's own rules."""
        return self.service, 0

    async def collect(self) -> None:
        """Hand the rules up."""
        parent: Any = self.parent
        parent.rules = self.rules

    @classmethod
    def extra_commands(cls) -> list[Command]:
        """The rules."""
        return [*super().extra_commands(), *rule_commands()]


class ServicePartContext(AttributeContext, DoneContext):
    """Settings of a service that stand apart: connectionData, mappingData."""


def _run(on: bool) -> Any:
    def handler(context: ServiceContext, arguments: Arguments) -> Result:
        context.session.actor.require(context.declared().permission)
        context.begin()
        context.running = on
        if context.service == "cli" and not on:
            return Reply(notes=("with COMMIT nobody can log in here any more; `mailstead setting` at the machine lets in again",))
        return None

    return handler


def part(title: str, declared: str, name: str) -> type[ServicePartContext]:
    """The class of such a part."""
    members = {"__doc__": f"`<{name}#>`.", "name": name, "title": title, "declaration": SERVICE_CONTEXTS[declared]}
    return type(title, (ServicePartContext,), members)


def enter(kind: type[CliContext]) -> Any:
    """The handler that enters a context."""

    def handler(context: CliContext, arguments: Arguments) -> Result:
        context.session.enter(kind(context.session, context))
        return None

    return handler


def service_owner(permission: str, scope: str = "service") -> Any:
    """Whose named objects: the server's."""
    return lambda context: Owner(Place(scope, 0), permission)


def service(
    word: str,
    name: str,
    service_name: str,
    base: type[ServiceContext],
    *,
    more: Sequence[Command] = (),
    startable: bool = True,
    declared: str = "",
) -> type[ServiceContext]:
    """The class of a service's context."""
    own = list(more)

    def extra_commands(cls: type) -> list[Command]:
        return [*super(made, cls).extra_commands(), *own]  # type: ignore[misc]

    members: dict[str, object] = {
        "__doc__": f"`<server-{name}#>`.",
        "name": f"server-{name}",
        "title": word,
        "service": service_name,
        "startable": startable,
        "declaration": SERVICE_CONTEXTS[declared or service_name],
        "extra_commands": classmethod(extra_commands),
    }
    made: type[ServiceContext] = type(f"{service_name}Context", (base,), members)
    return made


def redirect_commands(scope: str, permission: str) -> list[Command]:
    """Redirects to HTTPS (LIS-14)."""
    return object_commands(
        OBJECT_KINDS["urlRedirect"], "UrlRedirect", "UrlRedirects", None, service_owner(permission, scope),
        columns=("address", "host", "port", "auto"), title="The list of URL redirects:",
    )  # fmt: skip


def resolver_commands(scope: str, permission: str) -> list[Command]:
    """Host names with their domains (WML-04)."""
    kind = OBJECT_KINDS["hostNameResolver"]
    return object_commands(
        kind, "HostNameResolver", "HostNameResolvers", None, service_owner(permission, scope), columns=("host", "domain"),
        title="The list of host name resolvers:", optional=("domain",),
    )  # fmt: skip


def log_only(word: str, name: str, declared: str) -> type[ServiceContext]:
    """A module that has log settings and nothing else."""
    return service(word, name, "", ServiceContext, startable=False, declared=declared)
