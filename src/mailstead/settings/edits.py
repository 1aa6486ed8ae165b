"""Changes that wait to be made together: what a COMMIT of the administration protocol, or a saved form, writes.

Invariants:
- All or nothing: `commit` writes everything in one transaction, durable when it returns, or nothing.
- Nothing is overwritten unseen: when somebody else changed one of the touched objects since the changes were begun, the first
  `commit` says so and writes nothing; the next one wins.
- Rights are asked again at `commit`: for each value, by the function the owner of the scope gave.

A value lies at a Place: scope and id, the prefix of its context's names (`imap.` for services), and the domain whose rights count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from mailstead.settings.actor import Actor
from mailstead.settings.database import SystemDatabase, Transaction
from mailstead.settings.declaration import Context, InvalidValueError, ObjectKind, Setting
from mailstead.settings.objects import NamedObject, Objects, Operation, sort_key
from mailstead.settings.references import ACTIVE_FILTERS, FILTER_NAME, FILTER_TYPE, LOOKED_UP, is_new, need_filter, need_named
from mailstead.settings.service import check_pair, has_pair, store_value, typed_values

MAX_CONTENT = 4 * 1024 * 1024
"""Longest text of `content`, in characters."""


class ChangedMeanwhileError(Exception):
    """Somebody else changed an object since it was looked at; nothing was written."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the values of a context lie; `domain_id` 0 means that server permissions count."""

    scope: str
    scope_id: int = 0
    prefix: str = ""
    domain_id: int = 0

    def stored(self, name: str) -> str:
        """The name of a setting as its row has it."""
        return self.prefix + name


def place_of(context: Context, scope_id: int = 0, domain_id: int = 0, scope: str = "") -> Place:
    """Where a context's values lie; `scope` is one of the inherited ones (defaults, domain, class, account)."""
    prefix = f"{context.name}." if context.prefixed or context.scope == "service" else ""
    return Place(scope or context.scope, scope_id, prefix, domain_id)


def read_values(database: SystemDatabase, place: Place, context: Context) -> dict[str, str]:
    """Explicit values of a context at a place, as text by declared name."""
    rows = database.query("SELECT name, value FROM setting WHERE scope = ? AND scope_id = ?", (place.scope, place.scope_id))
    size = len(place.prefix)
    result = {}
    for name, text in rows:
        if name.startswith(place.prefix):
            setting = context.by_name.get(name[size:].lower())
            if setting is not None:
                result[setting.name] = text
    return result


def read_objects(objects: Objects, pendings: Iterable[Pending], kind: ObjectKind, place: Place) -> list[NamedObject]:
    """Objects of a kind at a place with what waits on top, the pendings given from the outermost in."""
    found = {row.key: row for row in objects.all(kind, place.scope, place.scope_id)}
    for pending in pendings:
        for (scope, scope_id, name, key), staged in pending.objects.items():
            if (scope, scope_id, name) == (place.scope, place.scope_id, kind.name):
                found.pop(key, None)
                shown = staged.as_object
                if shown is not None:
                    found[shown.key] = shown
    return sorted(found.values(), key=sort_key)


def read_content(database: SystemDatabase, place: Place, name: str) -> str | None:
    """A long text of a place, or None."""
    row = database.query_row(
        "SELECT value FROM content WHERE scope = ? AND scope_id = ? AND name = ?", (place.scope, place.scope_id, name)
    )
    return None if row is None else str(row[0])


@dataclass(frozen=True, slots=True)
class Step:
    """An operation of a verb, with the objects it touches as (history kind, id)."""

    operation: Operation
    touches: tuple[tuple[str, int], ...] = ()


class ValueChange(NamedTuple):
    """A setting's new text; None to inherit, or have the default, again."""

    context: Context
    setting: Setting
    text: str | None


class ContentChange(NamedTuple):
    """A long text; None to remove it."""

    text: str | None
    permission: str


@dataclass(frozen=True, slots=True)
class StagedObject:
    """A named object as it is to be: `original` None for a new one, `attributes` None for one that goes. Changing it needs
    `permission` at its place."""

    kind: ObjectKind
    place: Place
    permission: str
    id: int
    original: NamedObject | None
    attributes: Mapping[str, str] | None

    @property
    def as_object(self) -> NamedObject | None:
        """What is read in its place."""
        if self.attributes is None:
            return None
        key = self.kind.key_of(self.attributes[self.kind.context.setting(self.kind.key).name])
        return NamedObject(self.id, self.kind, key, self.attributes)

    def operation(self, objects: Objects, author: str) -> Operation | None:
        """What makes it so; None when there is nothing to do. Raises InvalidValueError."""
        place = self.place
        if self.original is None:
            if self.attributes is None:
                return None
            return objects.adder(self.kind, self.attributes, author, place.scope, place.scope_id, self.id)
        if self.attributes is None:
            return objects.remover(self.kind, self.original.key, author, place.scope, place.scope_id)
        changes: dict[str, str | None] = dict.fromkeys(self.original.attributes)
        changes.update(self.attributes)
        return objects.updater(self.kind, self.original.key, changes, author, place.scope, place.scope_id)


ObjectKey = tuple[str, int, str, str]
"""Scope, scope id, kind and key an object was first seen under."""


@dataclass(slots=True)
class Pending:
    """Changes not yet made; a later value of the same setting takes the earlier one's place."""

    values: dict[tuple[Place, str], ValueChange] = field(default_factory=dict)
    contents: dict[tuple[Place, str], ContentChange] = field(default_factory=dict)
    objects: dict[ObjectKey, StagedObject] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    seen: int = -1
    """History up to here was seen when the changes were begun; -1: not yet begun."""

    def __bool__(self) -> bool:
        return bool(self.values or self.contents or self.objects or self.steps)

    def set_value(self, place: Place, context: Context, setting: Setting, text: str | None) -> None:
        """Set (None: inherit, or the default, again). Raises InvalidValueError."""
        rendered = None if text is None else setting.render(setting.parse(text))
        self.values[place, setting.name] = ValueChange(context, setting, rendered)

    def set_content(self, place: Place, name: str, text: str | None, permission: str) -> None:
        """Set (None: remove) a long text; it needs `permission` at its place. Raises InvalidValueError."""
        if text is not None and len(text) > MAX_CONTENT:
            raise InvalidValueError(f"{name}: a text has at most {MAX_CONTENT} characters")
        self.contents[place, name] = ContentChange(text, permission)

    def value(self, place: Place, name: str) -> tuple[bool, str | None]:
        """Whether a value is pending, and which."""
        found = self.values.get((place, name))
        return (False, None) if found is None else (True, found.text)

    def stage(self, staged: StagedObject) -> None:
        """Let an object be added, changed or removed."""
        found = staged.original or staged.as_object
        assert found is not None
        self.objects[staged.place.scope, staged.place.scope_id, staged.kind.name, found.key] = staged

    def add(self, *steps: Step) -> None:
        """Add verbs' operations; their rights were asked when they were made."""
        self.steps.extend(steps)

    def take(self, child: Pending) -> None:
        """Add the changes a child hands up (DONE)."""
        self.values.update(child.values)
        self.contents.update(child.contents)
        self.objects.update(child.objects)
        self.steps.extend(child.steps)
        if child.seen >= 0 and (self.seen < 0 or child.seen < self.seen):
            self.seen = child.seen

    def clear(self) -> None:
        """Forget everything."""
        self.values.clear()
        self.contents.clear()
        self.objects.clear()
        self.steps.clear()
        self.seen = -1


Check = Callable[[Place, ValueChange], None]
"""Raises PermissionDeniedError when the actor may not make that change."""

_KINDS = {"account": "account", "accountData": "account", "recipient": "recipient"}
_TABLES = {"account": "account", "class": "account_class", "domain": "domain", "domainConfig": "domain"}
_OWNERS = {**_TABLES, "accountData": "account", "recipient": "recipient"}
#: Settings whose change ends sessions and cached logins.
RIGHTS = frozenset({"services"})


def commit_operation(
    pending: Pending, actor: Actor, check: Check, own: Callable[[int], bool], objects: Objects, *, as_it_was: bool = False
) -> Callable[[Transaction], tuple[int, int]]:
    """The operation that makes all changes; returns the range of history rows it wrote (from, to].

    `own(seq)` tells whether a history row was written by the same session, and so was seen. What is brought `as_it_was` elsewhere
    may name what is not here.
    Raises PermissionDeniedError here; ChangedMeanwhileError, InvalidValueError when run.
    """
    for (place, _name), change in pending.values.items():
        check(place, change)
    for (place, _name), content in pending.contents.items():
        actor.require(content.permission, place.domain_id)
    staged: list[Operation] = []
    for wanted in pending.objects.values():
        actor.require(wanted.permission, wanted.place.domain_id)
        made = wanted.operation(objects, actor.name)
        if made is not None:
            staged.append(made)

    def operation(transaction: Transaction) -> tuple[int, int]:
        first = int(transaction.value("SELECT coalesce(max(seq), 0) FROM history"))
        if pending.seen >= 0:
            _refuse_changed(transaction, pending, own)
        for step in pending.steps:
            step.operation(transaction)
        _need_owners(transaction, pending)
        naming = [] if as_it_was else _new_names(transaction, pending)
        for (place, _name), change in pending.values.items():
            _write_value(transaction, actor.name, place, change.setting, change.text)
        for (place, name), content in pending.contents.items():
            _write_content(transaction, actor.name, place, name, content.text)
        for staged_change in staged:
            staged_change(transaction)
        _check_pairs(transaction, pending)
        if not as_it_was:
            _check_names(transaction, pending, naming)
        return first, int(transaction.value("SELECT coalesce(max(seq), 0) FROM history"))

    return operation


def _check_pairs(transaction: Transaction, pending: Pending) -> None:
    """Rules between two settings, as they are once all is written. Raises InvalidValueError."""
    for (place, _name), change in pending.values.items():
        if place.scope == "service" and has_pair(change.context, change.setting):
            rows = transaction.execute("SELECT name, value FROM setting WHERE scope = 'service' AND scope_id = 0")
            check_pair(change.context, change.setting, change.text, typed_values(change.context, dict(rows)))


def _new_names(transaction: Transaction, pending: Pending) -> list[ValueChange]:
    """Values that name a connector, and did not name it before."""
    return [
        change
        for (place, name), change in pending.values.items()
        if change.setting.names in LOOKED_UP
        and is_new(transaction.execute, place.scope, place.scope_id, place.stored(name), change.text)
    ]


def _check_names(transaction: Transaction, pending: Pending, naming: Iterable[ValueChange]) -> None:
    """What new values name, once all is written: it may have come with them. Raises InvalidValueError."""
    for change in naming:
        need_named(transaction.execute, change.setting, change.text)
    for staged in pending.objects.values():
        new, old = staged.attributes or {}, staged.original.attributes if staged.original is not None else {}
        for name, text in new.items():
            if text != old.get(name):
                need_named(transaction.execute, staged.kind.context.setting(name), text)
        if staged.kind.name in ACTIVE_FILTERS and any(new.get(name) != old.get(name) for name in (FILTER_NAME, FILTER_TYPE)):
            need_filter(
                transaction.execute, staged.kind, new, staged.place.scope, staged.place.scope_id, staged.place.domain_id
            )


def _touched(pending: Pending) -> Iterable[tuple[str, int, str]]:
    """(history kind, object id, verb or empty for any) of what is changed."""
    for place, _name in (*pending.values, *pending.contents):
        if place.scope == "service":
            yield "setting", 0, f"set {place.prefix.rstrip('.')}"
        else:
            yield _KINDS.get(place.scope, "setting"), place.scope_id, ""
    for staged in pending.objects.values():
        if staged.original is not None:
            yield "object", staged.original.id, ""
    for step in pending.steps:
        for kind, number in step.touches:
            yield kind, number, ""


def _refuse_changed(transaction: Transaction, pending: Pending, own: Callable[[int], bool]) -> None:
    for kind, number, verb in dict.fromkeys(_touched(pending)):
        rows = transaction.execute(
            "SELECT seq, author, verb FROM history WHERE kind = ? AND object_id = ? AND seq > ? ORDER BY seq DESC LIMIT 100",
            (kind, number, pending.seen),
        )
        for seq, author, done in rows:
            if not own(seq) and verb in ("", done):
                raise ChangedMeanwhileError(f"changed meanwhile by {author}; nothing was written, repeat it to overwrite")


def _need_owners(transaction: Transaction, pending: Pending) -> None:
    """What is written for an owner that is gone would be in the way of its coming back. Raises InvalidValueError."""
    places = (*(place for place, _ in (*pending.values, *pending.contents)), *(one.place for one in pending.objects.values()))
    for scope, scope_id in dict.fromkeys((place.scope, place.scope_id) for place in places):
        table = _OWNERS.get(scope)
        if table is not None and not transaction.row(f"SELECT 1 FROM {table} WHERE id = ?", (scope_id,)):
            raise InvalidValueError("the object was removed meanwhile")


def _write_value(transaction: Transaction, author: str, place: Place, setting: Setting, text: str | None) -> None:
    table = _TABLES.get(place.scope)
    if table is not None and not place.prefix:
        column = "auth_version" if table == "account" else "version"
        step = 1 if setting.name in RIGHTS else 0
        transaction.execute(f"UPDATE {table} SET {column} = {column} + ? WHERE id = ?", (step, place.scope_id))
    store_value(transaction, author, place.scope, place.scope_id, place.stored(setting.name), setting, text)


def _write_content(transaction: Transaction, author: str, place: Place, name: str, text: str | None) -> None:
    key = (place.scope, place.scope_id, name)
    if text is None:
        transaction.execute("DELETE FROM content WHERE scope = ? AND scope_id = ? AND name = ?", key)
    else:
        transaction.execute(
            "INSERT INTO content (scope, scope_id, name, value) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (scope, scope_id, name) DO UPDATE SET value = excluded.value",
            (*key, text),
        )
    size = {"scope": place.scope, "name": name, "characters": 0 if text is None else len(text)}
    transaction.record(author, _KINDS.get(place.scope, "setting"), place.scope_id, "set content", None, size)
