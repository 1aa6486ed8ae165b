"""The settings of a node: reading, changing, inheriting, and telling who wants to know.

Invariants:
- What is stored has passed its declaration; what is read is typed and immutable.
- A change by any process is seen by the next read here (see database.poll).
- Explicit values win over inherited ones; resetting a value makes it inherited again (DOM-09).

Only explicit values are rows: (scope, id, name) -> text. Scopes: `service` with the context in the name, and the
chain of account settings `defaults` (server), `domain`, `class`, `account`; `domainConfig` holds a domain's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from mailstead.settings.access import AccessRule, AccessRules
from mailstead.settings.actor import Actor
from mailstead.settings.database import Change, SystemDatabase, Transaction
from mailstead.settings.declaration import Context, InvalidValueError, Setting, Snapshot, Value
from mailstead.settings.declarations import ACCOUNT, SERVICE_CONTEXTS
from mailstead.settings.listeners import Listeners, ListenerSettings
from mailstead.settings.objects import Objects
from mailstead.settings.references import NOTHING, is_new, need_named

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SettingsChange:
    """Told to subscribers: a context (`imap`), `listeners`, `account`, `domain`, a kind of object (`logRule`), or `*` for
    everything."""

    context: str


Subscriber = Callable[[SettingsChange], None]


class ServiceSettings(Snapshot):
    """Values of one service context."""


@dataclass(frozen=True, slots=True)
class Inherited:
    """A value with the place it comes from: `account`, `class`, `domain`, `defaults`, or `factory`."""

    value: Value
    origin: str

    @property
    def explicit(self) -> bool:
        """True when the object itself has the value."""
        return self.origin == "explicit"


def author_of(author: Actor | str) -> str:
    """The name for the history."""
    return author if isinstance(author, str) else author.name


class Settings:
    """All settings over one SystemDatabase. Reads are synchronous and cached; changes are coroutines."""

    def __init__(self, database: SystemDatabase) -> None:
        self.database = database
        self._snapshots: dict[str, ServiceSettings] = {}
        self._subscribers: list[Subscriber] = []
        self.listener_rows = Listeners(database)
        self.objects = Objects(database)
        self._defaults: dict[str, str] | None = None
        database.subscribe(self._changed)

    @classmethod
    def open(cls, data_dir: Path, *, create: bool = False) -> Settings:
        """The settings of a data directory, with a database of their own."""
        return cls(SystemDatabase.open(data_dir, create=create))

    # -- service contexts -----------------------------------------------------------------------------------

    def service(self, name: str) -> ServiceSettings:
        """Frozen values of a service context; attributes as in the CLI. Raises InvalidValueError for an unknown one."""
        self.database.poll()
        return self.peek(name)

    def peek(self, name: str) -> ServiceSettings:
        """`service` without looking for changes: for code that has just polled, or holds the database lock."""
        found = self._snapshots.get(name)
        if found is not None:
            return found
        with self.database.lock:
            return self._load(name)

    def _load(self, name: str) -> ServiceSettings:
        context = context_of(name)
        values = context.defaults()
        prefix = f"{context.name}."
        for stored, text in self.database.query(
            "SELECT name, value FROM setting WHERE scope = 'service' AND scope_id = 0 AND name >= ? AND name < ?",
            (prefix, f"{context.name}/"),
        ):
            _keep(context, values, stored[len(prefix) :], text)
        snapshot = ServiceSettings(values)
        self._snapshots[context.name] = snapshot
        return snapshot

    def file(self, value: object) -> str:
        """The path that a setting of a file means: a relative one lies under the data directory; "" where it names none."""
        return "" if value in NOTHING else str(self.database.path.parent.parent / str(value))

    async def set(self, context: str, name: str, value: str, author: Actor | str) -> None:
        """Store a value written as text. Raises InvalidValueError, PermissionDeniedError."""
        operation = self._setter(context, name, value, author)
        await self.database.write(operation)
        self.database.poll()

    def set_sync(self, context: str, name: str, value: str, author: Actor | str) -> None:
        """`set` for callers without an event loop."""
        self.database.write_sync(self._setter(context, name, value, author))
        self.database.poll()

    async def reset(self, context: str, name: str, author: Actor | str) -> None:
        """Go back to the default."""
        operation = self._setter(context, name, None, author)
        await self.database.write(operation)
        self.database.poll()

    def _setter(self, name: str, key: str, text: str | None, author: Actor | str) -> Callable[[Transaction], None]:
        context = context_of(name)
        setting = context.setting(key)
        if isinstance(author, Actor):
            author.require(context.permission)
        check_pair(context, setting, text, self.service(context.name))
        value = None if text is None else setting.render(setting.parse(text))

        def operation(transaction: Transaction) -> None:
            stored = f"{context.name}.{setting.name}"
            if is_new(transaction.execute, "service", 0, stored, value):
                need_named(transaction.execute, setting, value)
            store_value(transaction, author_of(author), "service", 0, stored, setting, value)

        return operation

    # -- inherited account settings -------------------------------------------------------------------------

    def account_values(self, chain: Sequence[tuple[str, int]]) -> dict[str, Inherited]:
        """Effective account settings along `chain`, nearest first, e.g. account, class, domain (DOM-09)."""
        return self._inherited(chain, ACCOUNT.settings)

    def account_value(self, chain: Sequence[tuple[str, int]], name: str) -> Inherited:
        """One of them. Raises InvalidValueError for a name that is none."""
        setting = ACCOUNT.setting(name)
        return self._inherited(chain, (setting,))[setting.name]

    def _inherited(self, chain: Sequence[tuple[str, int]], settings: Iterable[Setting]) -> dict[str, Inherited]:
        explicit = [self.explicit(scope, scope_id) for scope, scope_id in chain]
        explicit.append(self.account_defaults())
        places = [scope for scope, _ in chain] + ["defaults"]
        result: dict[str, Inherited] = {}
        for setting in settings:
            result[setting.name] = Inherited(setting.default, "factory")
            for index, (values, place) in enumerate(zip(explicit, places, strict=True)):
                text = values.get(setting.name)
                if text is None:
                    continue
                try:
                    value = setting.parse(text)
                except InvalidValueError:
                    continue  # A range became narrower in a newer release: the value above holds.
                result[setting.name] = Inherited(value, "explicit" if index == 0 and chain else place)
                break
        return result

    def explicit(self, scope: str, scope_id: int) -> dict[str, str]:
        """Explicit values of one object, as text."""
        return dict(self.database.query("SELECT name, value FROM setting WHERE scope = ? AND scope_id = ?", (scope, scope_id)))

    def account_defaults(self) -> dict[str, str]:
        """What the server sets for accounts of every domain, as text; empty for the factory's values."""
        with self.database.lock:
            if self._defaults is None:
                self._defaults = self.explicit("defaults", 0)
            return self._defaults

    async def set_account_default(self, name: str, value: str | None, author: Actor | str) -> None:
        """Set (None: reset) what accounts of every domain inherit from the server."""
        setting = ACCOUNT.setting(name)
        if isinstance(author, Actor):
            author.require("manageServerConfig")
        text = None if value is None else setting.render(setting.parse(value))
        who = author_of(author)
        await self.database.write(lambda t: store_value(t, who, "defaults", 0, setting.name, setting, text))
        self.database.poll()

    # -- listeners and access rules -------------------------------------------------------------------------

    def listeners(self, service: str) -> list[ListenerSettings]:
        """Listeners of a service by address, also disabled ones."""
        self.database.poll()
        return self.listener_rows.of_service(service)

    def running_listeners(self, services: Sequence[str]) -> list[ListenerSettings]:
        """Enabled listeners of those of these services that run, in the services' order."""
        running = self.service("server").services
        return [one for service in services if service in running for one in self.listeners(service) if one.enable]

    def access_rules(self, service: str, listener_id: int = 0) -> AccessRules:
        """Rules of a listener, or of the service itself, or of everything (service `global`)."""
        self.database.poll()
        return self.listener_rows.rules(service, listener_id)

    def access(self, service: str, listener_id: int, peer: str) -> AccessRule | None:
        """The rule that decides for a peer: the listener's, else the service's, else the global one, else None."""
        for owner, listener in ((service, listener_id), (service, 0), ("global", 0)):
            rule = self.access_rules(owner, listener).match(peer)
            if rule is not None:
                return rule
        return None

    async def _change(self, operation: Callable[[Transaction], T]) -> T:
        result = await self.database.write(operation)
        self.database.poll()
        return result

    async def add_listener(
        self, service: str, address: str, attributes: Mapping[str, str], author: Actor | str
    ) -> ListenerSettings:
        """Add a listener at `address:port`. Raises InvalidValueError for refused or used addresses (LIS-02)."""
        listener_id = await self._change(self.listener_rows.adder(service, address, attributes, author))
        return self.listener_rows.by_id(service, listener_id)

    async def update_listener(
        self, service: str, address: str, attributes: Mapping[str, str], author: Actor | str
    ) -> ListenerSettings:
        """Change attributes of a listener; `address` among them moves it."""
        listener_id = await self._change(self.listener_rows.updater(service, address, attributes, author))
        return self.listener_rows.by_id(service, listener_id)

    async def remove_listener(self, service: str, address: str, author: Actor | str) -> None:
        """Remove a listener with its rules."""
        await self._change(self.listener_rows.remover(service, address, author))

    async def add_access_rule(
        self,
        service: str,
        action: str,
        ip_set: str,
        attributes: Mapping[str, str],
        author: Actor | str,
        *,
        listener_id: int = 0,
    ) -> None:
        """Add an `allow` or `deny` rule (LIS-04); attributes: enable, priority and, for allow, the six limits."""
        await self._change(self.listener_rows.rule_adder(service, action, ip_set, attributes, author, listener_id))

    async def update_access_rule(
        self,
        service: str,
        action: str,
        ip_set: str,
        attributes: Mapping[str, str],
        author: Actor | str,
        *,
        listener_id: int = 0,
    ) -> None:
        """Change attributes of a rule."""
        await self._change(self.listener_rows.rule_updater(service, action, ip_set, attributes, author, listener_id))

    async def remove_access_rule(
        self, service: str, action: str, ip_set: str, author: Actor | str, *, listener_id: int = 0
    ) -> None:
        """Remove a rule."""
        await self._change(self.listener_rows.rule_remover(service, action, ip_set, author, listener_id))

    # -- events ---------------------------------------------------------------------------------------------

    def subscribe(self, callback: Subscriber) -> None:
        """Have `callback` called, from `poll` or a read, after settings have changed."""
        self._subscribers.append(callback)

    def poll(self) -> bool:
        """Look for changes of other processes (about 3 us); callbacks run before it returns."""
        return self.database.poll()

    def _changed(self, changes: Sequence[Change] | None) -> None:
        touched: set[str] = set()
        if changes is None:
            self._snapshots.clear()
            self.listener_rows.forget()
            self.objects.forget()
            self._defaults = None
            touched.add("*")
        else:
            for change in changes:
                if change.kind == "setting":
                    touched.add(change.verb.partition(" ")[2])
                elif change.kind in ("listener", "accessRule"):
                    touched.add("listeners")
                    self.listener_rows.forget()
                elif change.kind == "object":
                    touched.add(change.verb.partition(" ")[2])
                    self.objects.forget()
        for name in touched:
            self._snapshots.pop(name, None)
            if name == "account":
                self._defaults = None
            for callback in tuple(self._subscribers):
                callback(SettingsChange(name))


def context_of(name: str) -> Context:
    """The declaration of a service context in any case. Raises InvalidValueError."""
    found = SERVICE_CONTEXTS.get(name)
    if found is None:
        found = next((c for key, c in SERVICE_CONTEXTS.items() if key.lower() == name.lower()), None)
    if found is None:
        raise InvalidValueError(f"there is no service {name[:64]!r}")
    return found


def has_pair(context: Context, setting: Setting) -> bool:
    """Whether a rule binds the setting to another one."""
    return context.name == "processing" and setting.name in ("schedInterval", "maxSchedInterval")


def typed_values(context: Context, rows: Mapping[str, str]) -> Snapshot:
    """A service's values where `rows` are all that the server has set, by stored name."""
    values = context.defaults()
    for name, text in rows.items():
        owner, _, setting = name.rpartition(".")
        if owner == context.name:
            _keep(context, values, setting, text)
    return Snapshot(values)


def check_pair(context: Context, setting: Setting, text: str | None, current: Any) -> None:
    """Rules between two settings: SMO-06 demands schedInterval below maxSchedInterval."""
    if not has_pair(context, setting):
        return
    value: Any = setting.default if text is None else setting.parse(text)
    first = value if setting.name == "schedInterval" else current.schedInterval
    longest = value if setting.name == "maxSchedInterval" else current.maxSchedInterval
    if first >= longest:
        raise InvalidValueError(f"{setting.name}: schedInterval must be below maxSchedInterval")


def _keep(context: Context, values: dict[str, Value], name: str, text: str) -> None:
    setting = context.by_name.get(name.lower())
    if setting is None:
        return  # Written by another release; kept in the database, unknown here.
    try:
        values[setting.name] = setting.parse(text)
    except InvalidValueError:
        return  # A range became narrower in a newer release: the default holds.


_SCOPE_CONTEXT = dict.fromkeys(("defaults", "domain", "class", "account", "accountData", "recipient"), "account")
_OBJECT_KIND = {"account": "account", "accountData": "account", "recipient": "recipient"}


def store_value(
    transaction: Transaction, author: str, scope: str, scope_id: int, name: str, setting: Setting, value: str | None
) -> None:
    """Write (None: remove) an explicit value inside a transaction, with its history row.

    The history verb is `set <context>` and its object is the scope's object, so that caches know what to drop.
    """
    old = transaction.value("SELECT value FROM setting WHERE scope = ? AND scope_id = ? AND name = ?", (scope, scope_id, name))
    if value is None:
        transaction.execute("DELETE FROM setting WHERE scope = ? AND scope_id = ? AND name = ?", (scope, scope_id, name))
    else:
        transaction.execute(
            "INSERT INTO setting (scope, scope_id, name, value) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (scope, scope_id, name) DO UPDATE SET value = excluded.value",
            (scope, scope_id, name, value),
        )
    # A single account's value touches that account alone, and is told as a change of it.
    context = name.partition(".")[0] if scope == "service" else _SCOPE_CONTEXT.get(scope, "domain")
    transaction.record(
        author,
        _OBJECT_KIND.get(scope, "setting"),
        scope_id,
        f"set {context}",
        {"scope": scope, "name": name, "value": "(secret)" if setting.secret else old},
        {"scope": scope, "name": name, "value": "(secret)" if setting.secret else value},
    )
