"""Listeners of a service (LIS-03): their contexts, SSLCONTROL, and the commands over them.

Invariants: a listener, with its TLS settings and rules, is one transaction at its COMMIT, and is then bound by every
process; a listener that is
removed goes with the COMMIT of the service.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mailstead.admin_cli.attributes import AttributeContext, Special, shown
from mailstead.admin_cli.context import CliContext, Command, CommitContext, DoneContext, Result, command, make
from mailstead.admin_cli.contexts.access_rules import RuleChanges, rule_commands, rule_steps
from mailstead.admin_cli.grammar import CommandError, Word
from mailstead.admin_cli.responses import attribute, quoted, show, table
from mailstead.admin_cli.syntax import Arguments
from mailstead.settings.database import Transaction
from mailstead.settings.declaration import Setting
from mailstead.settings.declarations import LISTENER, LISTENER_OWN, SSL_CONTROL
from mailstead.settings.edits import Step
from mailstead.settings.ip_set import split_host_port
from mailstead.settings.listeners import ListenerSettings, listener_defaults

PLAIN = frozenset({"log", "reporting"})
"""Services whose listeners have an address and a switch, and nothing else."""
WITH_DOMAIN = frozenset({"smtpIncoming", "pop3Proxy", "imapProxy", "webmailProxy", "imap", "pop3"})
ONLY_OURS = frozenset({"submission"})


def shown_address(host: str, port: int) -> str:
    """`host:port`, IPv6 in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class ListenerContext(AttributeContext, CommitContext):
    """One listener, stored or new."""

    below = "listener"
    title = "listener"
    declaration = LISTENER_OWN

    def __init__(self, parent: Any, found: ListenerSettings | None, address: str) -> None:
        super().__init__(parent.session, parent)
        self.service: str = parent.service
        self.found = found
        self.address = address
        self.changes: dict[str, str] = {}
        self.rules: RuleChanges = {}
        self.begin()

    def rules_of(self) -> tuple[str, int]:
        """Whose rules; -1 for a listener that is not stored."""
        return self.service, self.found.id if self.found is not None else -1

    def settings(self) -> Sequence[Setting]:
        """What the service's listeners have."""
        if self.service in PLAIN:
            return [LISTENER_OWN.setting("enable")]
        return [
            setting
            for setting in LISTENER_OWN.settings
            if (setting.name != "listenerDomain" or self.service in WITH_DOMAIN)
            and (setting.name not in ONLY_OURS or self.service == "smtpIncoming")
        ]

    def specials(self) -> Sequence[Special]:
        """The address."""
        return (Special("address", "address", _set_address, lambda context: quoted(context.address)),)

    def stored(self) -> Mapping[str, str]:
        """All attributes as they will be."""
        values: dict[str, str] = {}
        if self.found is not None:
            values = {s.name: s.render(getattr(self.found, s.name)) for s in LISTENER.settings}
        else:
            defaults: dict[str, Any] = listener_defaults(self.service)
            values = {s.name: s.render(defaults[s.name]) for s in LISTENER.settings}
        return {**values, **self.changes}

    def pending_value(self, name: str) -> tuple[bool, str | None]:
        """Everything is in `stored`."""
        return False, None

    def keep_value(self, setting: Setting, text: str | None) -> None:
        """Let it wait."""
        self.changes[setting.name] = setting.render(setting.parse(text or ""))

    async def collect(self) -> None:
        """The listener, then its rules, which need its id."""
        settings, actor = self.session.services.settings, self.session.actor
        rows = settings.listener_rows
        if self.found is None:
            adder = rows.adder(self.service, self.address, self.changes, actor)
            for step in rule_steps(settings, self.service, -1, self.rules, actor):
                assert step  # checks the rules before anything is written

            def operation(transaction: Transaction) -> None:
                listener_id = adder(transaction)
                for (action, addresses), values in self.rules.items():
                    if values is not None:
                        rows.rule_adder(self.service, action, addresses, values, actor, listener_id)(transaction)

            self.pending.steps[:] = [Step(operation)]
            return
        steps: list[Step] = []
        if self.changes or self.address != self.found.address:
            changes = dict(self.changes)
            if self.address != self.found.address:
                changes["address"] = self.address
            updater = rows.updater(self.service, self.found.address, changes, actor)
            steps.append(Step(updater, (("listener", self.found.id),)))
        steps += rule_steps(settings, self.service, self.found.id, self.rules, actor)
        self.pending.steps[:] = steps

    @command("CONFIG SSLCONTROL", "enters its TLS settings", allowed=lambda context: context.service not in PLAIN)
    def ssl_control(self, arguments: Arguments) -> Result:
        """CONFIG SSLCONTROL."""
        self.session.enter(SslControlContext(self.session, self))
        return None

    @classmethod
    def extra_commands(cls) -> list[Command]:
        """The rules."""
        return [*super().extra_commands(), *rule_commands()]


class SslControlContext(AttributeContext, DoneContext):
    """TLS of a listener (LIS-06)."""

    below = "sslcontrol"
    title = "SSLCONTROL"
    declaration = SSL_CONTROL

    def __init__(self, session: Any, parent: CliContext) -> None:
        super().__init__(session, parent)
        self.changes: dict[str, str] = {}

    def stored(self) -> Mapping[str, str]:
        """As the listener has them, with what was set here."""
        parent: Any = self.parent
        return {**parent.stored(), **self.changes}

    def pending_value(self, name: str) -> tuple[bool, str | None]:
        """Everything is in `stored`."""
        return False, None

    def keep_value(self, setting: Setting, text: str | None) -> None:
        """Let it wait."""
        self.changes[setting.name] = setting.render(setting.parse(text or ""))

    async def collect(self) -> None:
        """Hand it to the listener."""
        parent: Any = self.parent
        for name, text in self.changes.items():
            parent.keep_value(SSL_CONTROL.setting(name), text)


def _set_address(context: Any, value: Word) -> None:
    host, port = split_host_port(value.text)
    context.address = shown_address(host, port)


# -- commands of the service's context ------------------------------------------------------------------------------


def listener_commands() -> list[Command]:
    """LIST, ADD, UPDATE, REMOVE and SHOW; for contexts with `service` and `removed_listeners`."""
    return [
        make("LIST Listeners", "lists the listeners", _list),
        make("ADD Listener [address] <ip:port>", "adds a listener; it exists after its COMMIT", _add),
        make("UPDATE Listener [address] <ip:port>", "enters a listener", _update),
        make("REMOVE Listener [address] <ip:port>", "removes a listener", _remove),
        make("SHOW Listener [address] <ip:port> [ATTR <param>]", "shows a listener", _show),
    ]


def _found(context: Any, text: str) -> ListenerSettings:
    host, port = split_host_port(text)
    for listener in context.session.services.settings.listeners(context.service):
        if (listener.host, listener.port) == (host, port) and listener.address not in context.removed_listeners:
            found: ListenerSettings = listener
            return found
    raise CommandError(f"the listener {text[:80]} does not exist")


def _list(context: Any, arguments: Arguments) -> Result:
    rows = [
        (listener.address, "yes" if listener.enable else "no", "yes" if listener.sslEnable else "no")
        for listener in context.session.services.settings.listeners(context.service)
        if listener.address not in context.removed_listeners
    ]
    return table("The list of listeners:", ("address", "enable", "sslEnable"), rows)


def _add(context: Any, arguments: Arguments) -> Result:
    host, port = split_host_port(arguments["address"])
    address = shown_address(host, port)
    listeners = context.session.services.settings.listeners(context.service)
    if any((row.host, row.port) == (host, port) for row in listeners):
        raise CommandError(f"the listener {address} already exists")
    context.session.enter(ListenerContext(context, None, address))
    return None


def _update(context: Any, arguments: Arguments) -> Result:
    found = _found(context, arguments["address"])
    context.session.enter(ListenerContext(context, found, found.address))
    return None


def _remove(context: Any, arguments: Arguments) -> Result:
    found = _found(context, arguments["address"])
    context.begin()
    context.removed_listeners.append(found.address)
    return None


def _show(context: Any, arguments: Arguments) -> Result:
    found = _found(context, arguments["address"])
    child = ListenerContext(context, found, found.address)
    if "attr" in arguments:
        return attribute(*child.shown_attribute(arguments["attr"]))
    return show([*child.shown_pairs(), *((s.name, shown(s, s.render(getattr(found, s.name)))) for s in SSL_CONTROL.settings)])
