"""Listeners and access rules as rows: checks, changes, and a cache by service.

Invariants:
- No two listeners share address and port, whatever their service; wildcard and single address of one family clash
  only when the operator binds them, so that is left to the binding.
- A listener that is on and speaks TLS from the first octet names a certificate.
- fe80::/64 and IPv4-mapped addresses are refused (LIS-02).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from mailstead.settings.access import AccessRule, AccessRules
from mailstead.settings.actor import Actor
from mailstead.settings.database import SystemDatabase, Transaction
from mailstead.settings.declaration import InvalidValueError, Snapshot
from mailstead.settings.declarations import ACCESS_LIMITS, LISTENER, LISTENING_SERVICES, SERVICE_CONTEXTS
from mailstead.settings.declarations.listener import HTTP_DEFAULTS
from mailstead.settings.ip_set import IpSet, split_host_port
from mailstead.settings.references import NOTHING

HTTP_SERVICES = frozenset({"webmail", "webadmin", "webmailProxy"})
WILDCARDS = ("0.0.0.0", "[::]")
MOST_NAMED = 10
"""Listeners that a refusal names."""
LOOPBACK = ("127.0.0.1", "[::1]")


@dataclass(frozen=True, slots=True)
class FactoryListener:
    """A port a new server listens on, at each of `hosts`."""

    port: int
    attributes: Mapping[str, str] = field(default_factory=dict)
    hosts: tuple[str, ...] = WILDCARDS

    @property
    def addresses(self) -> tuple[str, ...]:
        """`host:port` of each listener."""
        return tuple(f"{host}:{self.port}" for host in self.hosts)


FACTORY_LISTENERS: Mapping[str, tuple[FactoryListener, ...]] = {
    "smtpIncoming": (
        FactoryListener(25),
        FactoryListener(587, {"submission": "yes"}),
        FactoryListener(465, {"submission": "yes", "sslEnable": "yes"}),
    ),
    "imap": (FactoryListener(143), FactoryListener(993, {"sslEnable": "yes"})),
    "pop3": (FactoryListener(110), FactoryListener(995, {"sslEnable": "yes"})),
    "managesieve": (FactoryListener(4190),),
    "cli": (FactoryListener(7000), FactoryListener(7001, {"sslEnable": "yes"})),
    "ftpBackup": (FactoryListener(21, {"enable": "no"}, LOOPBACK),),
}
"""What a new server listens on (LIS-01)."""


class ListenerSettings(Snapshot):
    """One listener: `id`, `service`, `host`, `port` and the attributes of the listener context."""

    id: int
    service: str
    host: str
    port: int

    @property
    def address(self) -> str:
        """`host:port`, IPv6 in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def known_service(name: str) -> str:
    """Spelling of a service with listeners. Raises InvalidValueError."""
    for service in LISTENING_SERVICES:
        if service.lower() == name.lower():
            return service
    raise InvalidValueError(f"the service {name[:64]!r} has no listeners")


def listener_defaults(service: str) -> dict[str, object]:
    """Values of a listener of that service where nothing is set (LIS-03)."""
    values: dict[str, object] = dict(LISTENER.defaults())
    if service == "imap":
        values["idleTimeout"] = 1800
    if service in HTTP_SERVICES:
        values.update(HTTP_DEFAULTS)
    return values


def _require(author: Actor | str, service: str) -> str:
    if isinstance(author, str):
        return author
    context = SERVICE_CONTEXTS.get(service)
    author.require(context.permission if context else "manageServerConfig")
    return author.name


def _canonical(attributes: Mapping[str, str], *, rule: bool) -> dict[str, str]:
    context = ACCESS_LIMITS if rule else LISTENER
    result = {}
    for name, text in attributes.items():
        setting = context.setting(name)
        result[setting.name] = setting.render(setting.parse(text))
    return result


class Listeners:
    """Rows of `listener` and `access_rule` with a cache; `forget` after a change."""

    def __init__(self, database: SystemDatabase) -> None:
        self._database = database
        self._listeners: dict[str, list[ListenerSettings]] = {}
        self._rules: dict[tuple[str, int], AccessRules] = {}

    def forget(self) -> None:
        """Drop the cache."""
        self._listeners.clear()
        self._rules.clear()

    def of_service(self, service: str) -> list[ListenerSettings]:
        """Listeners of a service in the order they were added."""
        service = known_service(service)
        with self._database.lock:
            found = self._listeners.get(service)
            if found is None:
                rows = self._database.query(
                    "SELECT id, host, port, attributes FROM listener WHERE service = ? ORDER BY id", (service,)
                )
                found = self._listeners[service] = [_listener(service, *row) for row in rows]
            return list(found)

    def by_id(self, service: str, listener_id: int) -> ListenerSettings:
        """One listener. Raises InvalidValueError when it is gone."""
        for listener in self.of_service(service):
            if listener.id == listener_id:
                return listener
        raise InvalidValueError(f"listener {listener_id} of {service} does not exist")

    def rules(self, service: str, listener_id: int) -> AccessRules:
        """Rules of a listener (id) or of the service (0)."""
        service = known_service(service)
        key = (service, listener_id)
        found = self._rules.get(key)
        if found is not None:
            return found
        with self._database.lock:
            rows = self._database.query(
                "SELECT id, action, ip_set, enable, priority, attributes FROM access_rule WHERE service = ? AND listener_id = ?",
                key,
            )
            found = self._rules[key] = AccessRules(_rule(service, listener_id, row) for row in rows)
            return found

    # -- changes: each returns the operation for a transaction ------------------------------------------------

    def adder(self, service: str, address: str, attributes: Mapping[str, str], author: Actor | str) -> Callable[[Transaction], int]:
        """Add a listener."""
        service = known_service(service)
        who = _require(author, service)
        host, port = _checked_address(address)
        stored = _canonical(attributes, rule=False)
        _refuse_tls_without_certificate(stored)

        def operation(transaction: Transaction) -> int:
            _refuse_duplicate(transaction, host, port, 0)
            row = transaction.row(
                "INSERT INTO listener (service, host, port, attributes) VALUES (?, ?, ?, ?) RETURNING id",
                (service, host, port, json.dumps(stored)),
            )
            assert row is not None
            new = {"service": service, "address": _written(host, port), **stored}
            transaction.record(who, "listener", row[0], "add", None, new)
            return int(row[0])

        return operation

    def updater(
        self, service: str, address: str, attributes: Mapping[str, str], author: Actor | str
    ) -> Callable[[Transaction], int]:
        """Change a listener; the attribute `address` moves it."""
        service = known_service(service)
        who = _require(author, service)
        host, port = _checked_address(address)
        moved = next((text for name, text in attributes.items() if name.lower() == "address"), None)
        target = (host, port) if moved is None else _checked_address(moved)
        stored = _canonical({n: t for n, t in attributes.items() if n.lower() != "address"}, rule=False)

        def operation(transaction: Transaction) -> int:
            listener_id, old = _find(transaction, service, host, port)
            _refuse_duplicate(transaction, *target, listener_id)
            _refuse_tls_without_certificate({**old, **stored})
            transaction.execute(
                "UPDATE listener SET host = ?, port = ?, attributes = ? WHERE id = ?",
                (*target, json.dumps({**old, **stored}), listener_id),
            )
            before = {"service": service, "address": _written(host, port), **old}
            after = {"service": service, "address": _written(*target), **old, **stored}
            transaction.record(who, "listener", listener_id, "update", before, after)
            return listener_id

        return operation

    def remover(self, service: str, address: str, author: Actor | str) -> Callable[[Transaction], None]:
        """Remove a listener and its rules."""
        service = known_service(service)
        who = _require(author, service)
        host, port = _checked_address(address)

        def operation(transaction: Transaction) -> None:
            listener_id, old = _find(transaction, service, host, port)
            transaction.execute("DELETE FROM listener WHERE id = ?", (listener_id,))
            transaction.execute("DELETE FROM access_rule WHERE listener_id = ?", (listener_id,))
            before = {"service": service, "address": _written(host, port), **old}
            transaction.record(who, "listener", listener_id, "remove", before)

        return operation

    def rule_adder(
        self,
        service: str,
        action: str,
        ip_set: str,
        attributes: Mapping[str, str],
        author: Actor | str,
        listener_id: int,
    ) -> Callable[[Transaction], None]:
        """Add an access rule."""
        service, action, addresses = known_service(service), _action(action), str(IpSet.parse(ip_set))
        who = _require(author, service)
        enable, priority, limits = _rule_attributes(action, attributes)

        def operation(transaction: Transaction) -> None:
            if listener_id and not transaction.row("SELECT 1 FROM listener WHERE id = ?", (listener_id,)):
                raise InvalidValueError(f"listener {listener_id} does not exist")
            key = (service, listener_id, action, addresses)
            if _rule_row(transaction, key) is not None:
                raise InvalidValueError(f"the {action} rule {addresses} already exists")
            row = transaction.row(
                "INSERT INTO access_rule (service, listener_id, action, ip_set, enable, priority, attributes) "
                "VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING id",
                # A rule is off until it is enabled, as LIS-04 has it.
                (*key, int(bool(enable)), priority or 500, json.dumps(limits)),
            )
            assert row is not None
            new = _rule_record(key, int(bool(enable)), priority or 500, limits)
            transaction.record(who, "accessRule", row[0], "add", None, new)

        return operation

    def rule_updater(
        self,
        service: str,
        action: str,
        ip_set: str,
        attributes: Mapping[str, str],
        author: Actor | str,
        listener_id: int,
    ) -> Callable[[Transaction], None]:
        """Change an access rule."""
        service, action, addresses = known_service(service), _action(action), str(IpSet.parse(ip_set))
        who = _require(author, service)
        enable, priority, limits = _rule_attributes(action, attributes)

        def operation(transaction: Transaction) -> None:
            key = (service, listener_id, action, addresses)
            row = _rule_row(transaction, key)
            if row is None:
                raise InvalidValueError(f"the {action} rule {addresses} does not exist")
            rule_id, old_enable, old_priority, old_limits = row
            before = json.loads(old_limits)
            now = (old_enable if enable is None else int(enable), priority or old_priority, {**before, **limits})
            transaction.execute(
                "UPDATE access_rule SET enable = ?, priority = ?, attributes = ? WHERE id = ?",
                (*now[:2], json.dumps(now[2]), rule_id),
            )
            old = _rule_record(key, old_enable, old_priority, before)
            transaction.record(who, "accessRule", rule_id, "update", old, _rule_record(key, *now))

        return operation

    def rule_remover(
        self, service: str, action: str, ip_set: str, author: Actor | str, listener_id: int
    ) -> Callable[[Transaction], None]:
        """Remove an access rule."""
        service, action, addresses = known_service(service), _action(action), str(IpSet.parse(ip_set))
        who = _require(author, service)

        def operation(transaction: Transaction) -> None:
            key = (service, listener_id, action, addresses)
            row = _rule_row(transaction, key)
            if row is None:
                raise InvalidValueError(f"the {action} rule {addresses} does not exist")
            transaction.execute("DELETE FROM access_rule WHERE id = ?", (row[0],))
            transaction.record(who, "accessRule", row[0], "remove", _rule_record(key, row[1], row[2], json.loads(row[3])))

        return operation


def _listener(service: str, listener_id: int, host: str, port: int, attributes: str) -> ListenerSettings:
    values = listener_defaults(service)
    for name, text in json.loads(attributes).items():
        setting = LISTENER.by_name.get(name.lower())
        if setting is None:
            continue  # Written by another release.
        try:
            values[setting.name] = setting.parse(text)
        except InvalidValueError:
            continue  # A range became narrower, or OpenSSL forgot a cipher: the default holds, and the listener goes on.
    return ListenerSettings({**values, "id": listener_id, "service": service, "host": host, "port": port})


def _rule(service: str, listener_id: int, row: tuple[int, str, str, int, int, str]) -> AccessRule:
    rule_id, action, ip_set, enable, priority, attributes = row
    limits: dict[str, object] = dict(ACCESS_LIMITS.defaults())
    for name, text in json.loads(attributes).items():
        limits[name] = ACCESS_LIMITS.setting(name).parse(text)
    return AccessRule(
        rule_id,
        service,
        listener_id,
        action == "allow",
        IpSet.parse(ip_set),
        bool(enable),
        priority,
        Snapshot(limits),
    )


def _checked_address(address: str) -> tuple[str, int]:
    host, port = split_host_port(address)
    if not 0 < port <= 65_535:
        raise InvalidValueError(f"address: the port must be 1 to 65535, not {port}")
    return host, port


def _find(transaction: Transaction, service: str, host: str, port: int) -> tuple[int, dict[str, str]]:
    row = transaction.row("SELECT id, attributes FROM listener WHERE service = ? AND host = ? AND port = ?", (service, host, port))
    if row is None:
        there = transaction.execute("SELECT host, port FROM listener WHERE service = ? ORDER BY host, port", (service,))
        has = ", ".join(_written(*one) for one in there[:MOST_NAMED]) or "none"
        raise InvalidValueError(f"{service} has no listener on {_written(host, port)}; it has {has}")
    return int(row[0]), json.loads(row[1])


def _refuse_duplicate(transaction: Transaction, host: str, port: int, own_id: int) -> None:
    row = transaction.row("SELECT id, service FROM listener WHERE host = ? AND port = ?", (host, port))
    if row is not None and row[0] != own_id:
        raise InvalidValueError(f"address: {host} port {port} is already a listener of {row[1]}")


def _refuse_tls_without_certificate(stored: Mapping[str, str]) -> None:
    """Each attribute alone is fine, but every client would be sent away. One that is off may be left so."""
    values = {name: LISTENER.setting(name).parse(stored[name]) for name in ("enable", "sslEnable", "certFile") if name in stored}
    if values.get("enable", True) and values.get("sslEnable") and values.get("certFile", "default") in NOTHING:
        raise InvalidValueError("certFile: a listener with sslEnable=yes needs a certificate")


def _rule_row(transaction: Transaction, key: tuple[str, int, str, str]) -> tuple[int, int, int, str] | None:
    row = transaction.row(
        "SELECT id, enable, priority, attributes FROM access_rule "
        "WHERE service = ? AND listener_id = ? AND action = ? AND ip_set = ?",
        key,
    )
    return None if row is None else (row[0], row[1], row[2], row[3])


def _rule_record(key: tuple[str, int, str, str], enable: int, priority: int, limits: Mapping[str, str]) -> dict[str, object]:
    """A rule for the history, with all that makes it again."""
    service, listener_id, action, addresses = key
    return {
        "service": service, "listener": listener_id, "action": action, "ipSet": addresses,
        "enable": "yes" if enable else "no", "priority": str(priority), **limits,
    }  # fmt: skip


def _written(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _action(word: str) -> str:
    if word.lower() not in ("allow", "deny"):
        raise InvalidValueError(f"a rule is allow or deny, not {word[:20]!r}")
    return word.lower()


def _rule_attributes(action: str, attributes: Mapping[str, str]) -> tuple[bool | None, int | None, dict[str, str]]:
    enable: bool | None = None
    priority: int | None = None
    limits: dict[str, str] = {}
    for name, text in attributes.items():
        if name.lower() == "enable":
            enable = bool(LISTENER.setting("enable").parse(text))
        elif name.lower() == "priority":
            if not (text.isascii() and text.isdigit() and len(text) <= 4 and 1 <= int(text) <= 1000):
                raise InvalidValueError(f"priority: {text[:20]!r} is not allowed; expected a number from 1 to 1000")
            priority = int(text)
        else:
            limits[name] = text
    if limits and action == "deny":
        raise InvalidValueError("a deny rule has no limits")
    return enable, priority, _canonical(limits, rule=True)
