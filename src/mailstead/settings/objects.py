"""Named objects under an owner: name servers, log rules, filters, signatures; each kind is declared (ObjectKind).

Invariants: an object's attributes have passed its declaration; an owner has at most `limit` objects of a kind, told apart by
their key; what is read is what every process has committed (the cache goes with the history row of a change).

An owner is a scope and an id, as settings have it; an object may itself be an owner (scope `object`).
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mailstead.settings.database import SystemDatabase, Transaction
from mailstead.settings.declaration import InvalidValueError, ObjectKind, Snapshot

Operation = Callable[[Transaction], object]
OBJECT_SCOPE = "object"


class ObjectExistsError(InvalidValueError):
    """The owner has an object of that kind and key already."""


class ObjectMissingError(InvalidValueError):
    """The owner has no object of that kind and key."""


@dataclass(frozen=True, slots=True)
class NamedObject:
    """One object; `attributes` are the explicit ones as text, by declared name."""

    id: int
    kind: ObjectKind
    key: str
    attributes: Mapping[str, str]

    @property
    def name(self) -> str:
        """The key as it was written."""
        return self.attributes.get(self.kind.context.setting(self.kind.key).name, self.key)

    @property
    def values(self) -> Snapshot:
        """Typed values, defaults where nothing is explicit."""
        values: dict[str, Any] = dict(self.kind.context.defaults())
        for name, text in self.attributes.items():
            setting = self.kind.context.by_name.get(name.lower())
            if setting is None:
                continue  # Written by another release.
            try:
                values[setting.name] = setting.parse(text)
            except InvalidValueError:
                continue  # A range became narrower in a newer release: the default holds.
        return Snapshot(values)


def new_object_id() -> int:
    """An id for an object that is to be stored; known before, so that other rows may point at it."""
    return secrets.randbits(62) + 1


def sort_key(found: NamedObject) -> tuple[int, str]:
    """Numbers by their value, before names."""
    return (int(found.key), "") if found.key.isdecimal() and len(found.key) < 18 else (1 << 60, found.key)


class Objects:
    """Reading with a cache, and the operations that change."""

    def __init__(self, database: SystemDatabase) -> None:
        self._database = database
        self._cache: dict[tuple[str, int, str], list[NamedObject]] = {}

    def forget(self) -> None:
        """Drop the cache after a change."""
        self._cache.clear()

    def all(self, kind: ObjectKind, scope: str, scope_id: int = 0) -> list[NamedObject]:
        """Objects of a kind, by key; numbers by their value."""
        self._database.poll()
        place = (scope, scope_id, kind.name)
        with self._database.lock:
            found = self._cache.get(place)
            if found is None:
                rows = self._database.query(
                    "SELECT id, key, attributes FROM object WHERE scope = ? AND scope_id = ? AND kind = ?", place
                )
                found = sorted((NamedObject(row[0], kind, row[1], json.loads(row[2])) for row in rows), key=sort_key)
                if len(self._cache) > 10_000:
                    self._cache.clear()
                self._cache[place] = found
            return list(found)

    def get(self, kind: ObjectKind, key: str, scope: str, scope_id: int = 0) -> NamedObject | None:
        """One object by its key as written."""
        wanted = kind.key_of(key)
        return next((found for found in self.all(kind, scope, scope_id) if found.key == wanted), None)

    # -- changes: each returns the operation for a transaction -------------------------------------------------

    def adder(
        self, kind: ObjectKind, attributes: Mapping[str, str], author: str, scope: str, scope_id: int = 0, object_id: int = 0
    ) -> Operation:
        """Add an object; the key is among its attributes. Raises InvalidValueError, when run ObjectExistsError."""
        stored = checked_attributes(kind, attributes)
        key = kind.key_of(stored.get(kind.context.setting(kind.key).name, ""))
        number = object_id or new_object_id()

        def operation(transaction: Transaction) -> int:
            place = (scope, scope_id, kind.name)
            if _row(transaction, place, key) is not None:
                raise ObjectExistsError(f"the {kind.name} {key} already exists")
            count = transaction.value("SELECT count(*) FROM object WHERE scope = ? AND scope_id = ? AND kind = ?", place)
            if count >= kind.limit:
                raise InvalidValueError(f"there may be at most {kind.limit} of {kind.name}")
            transaction.execute(
                "INSERT INTO object (id, kind, scope, scope_id, key, attributes) VALUES (?, ?, ?, ?, ?, ?)",
                (number, kind.name, scope, scope_id, key, json.dumps(stored, ensure_ascii=False, sort_keys=True)),
            )
            transaction.record(author, "object", number, f"add {kind.name}", None, _shown(kind, stored, scope, scope_id))
            return number

        return operation

    def updater(
        self, kind: ObjectKind, key: str, changes: Mapping[str, str | None], author: str, scope: str, scope_id: int = 0
    ) -> Operation:
        """Change attributes (None: the default again); a changed key renames. When run, raises ObjectMissingError."""
        stored = checked_attributes(kind, {name: text for name, text in changes.items() if text is not None})
        dropped = [kind.context.setting(name).name for name, text in changes.items() if text is None]
        wanted = kind.key_of(key)
        key_name = kind.context.setting(kind.key).name
        if key_name in dropped:
            raise InvalidValueError(f"{key_name}: a {kind.name} needs one")

        def operation(transaction: Transaction) -> int:
            place = (scope, scope_id, kind.name)
            row = _row(transaction, place, wanted)
            if row is None:
                raise ObjectMissingError(f"the {kind.name} {key} does not exist")
            number, old = row
            merged = {name: text for name, text in {**old, **stored}.items() if name not in dropped}
            renamed = kind.key_of(merged[key_name]) if key_name in merged else wanted
            if renamed != wanted and _row(transaction, place, renamed) is not None:
                raise ObjectExistsError(f"the {kind.name} {renamed} already exists")
            text = json.dumps(merged, ensure_ascii=False, sort_keys=True)
            transaction.execute("UPDATE object SET key = ?, attributes = ? WHERE id = ?", (renamed, text, number))
            transaction.record(
                author, "object", number, f"set {kind.name}",
                _shown(kind, old, scope, scope_id), _shown(kind, merged, scope, scope_id),
            )  # fmt: skip
            return number

        return operation

    def remover(self, kind: ObjectKind, key: str, author: str, scope: str, scope_id: int = 0) -> Operation:
        """Remove an object with those it owns. When run, raises ObjectMissingError."""
        wanted = kind.key_of(key)

        def operation(transaction: Transaction) -> None:
            row = _row(transaction, (scope, scope_id, kind.name), wanted)
            if row is None:
                raise ObjectMissingError(f"the {kind.name} {key} does not exist")
            number, old = row
            remove_owned(transaction, OBJECT_SCOPE, number)
            transaction.execute("DELETE FROM object WHERE id = ?", (number,))
            transaction.record(author, "object", number, f"remove {kind.name}", _shown(kind, old, scope, scope_id))

        return operation


def remove_owned(transaction: Transaction, scope: str, scope_id: int) -> None:
    """What goes with an owner: settings, long texts, objects and what those own."""
    for row in transaction.execute("SELECT id FROM object WHERE scope = ? AND scope_id = ?", (scope, scope_id)):
        remove_owned(transaction, OBJECT_SCOPE, row[0])
    for table in ("object", "content", "setting"):
        transaction.execute(f"DELETE FROM {table} WHERE scope = ? AND scope_id = ?", (scope, scope_id))


def checked_attributes(kind: ObjectKind, attributes: Mapping[str, str]) -> dict[str, str]:
    """Attributes as they are stored. Raises InvalidValueError."""
    result = {}
    for name, text in attributes.items():
        setting = kind.context.setting(name)
        result[setting.name] = setting.render(setting.parse(text))
    return result


def _row(transaction: Transaction, place: tuple[str, int, str], key: str) -> tuple[int, dict[str, str]] | None:
    row = transaction.row(
        "SELECT id, attributes FROM object WHERE scope = ? AND scope_id = ? AND kind = ? AND key = ?", (*place, key)
    )
    return None if row is None else (int(row[0]), json.loads(row[1]))


def _shown(kind: ObjectKind, attributes: Mapping[str, str], scope: str, scope_id: int) -> dict[str, Any]:
    """For the history: without secrets, with the owner."""
    shown: dict[str, Any] = {
        name: "(secret)" if (setting := kind.context.by_name.get(name.lower())) is not None and setting.secret else text
        for name, text in attributes.items()
    }
    return {**shown, "scope": scope, "scopeId": scope_id}
