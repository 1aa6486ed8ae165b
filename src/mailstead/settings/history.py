"""The history of changes: reading it, and forgetting what is too old.

Invariants: a row is never changed; secrets are not in it (`Transaction.record` leaves them out), and what could be one by
its name is hidden once more when it is read; the newest row stays whatever its age, so that numbers go on rising.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mailstead.settings.database import SECRET_FIELDS, SystemDatabase, Transaction
from mailstead.settings.declarations import SERVICE_CONTEXTS

DAY_US = 86_400 * 1_000_000
PURGED_AT_ONCE = 2000
"""Rows that one transaction of a purge removes."""
MEMBER_ROWS = 500_000
"""Rows of members of great changes that stay, whatever their age: about 90 MB."""
HIDDEN = "(secret)"
RIGHTS_KIND, RIGHTS_VERB = "publicFolder", "set rights"
"""Of an entry that tells what somebody may do in a public folder; its object is the domain."""
_SWITCHES = {"enable": True, "disable": False}
_PERMISSIONS = frozenset({"grant", "deny", "revoke"})

Change = tuple[Any, Any]
"""A value before and after; None: none, or not told."""


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One change: when (microseconds since 1970), by whom, of what (`kind`, `object_id`), which `verb`, before and after."""

    seq: int
    time: int
    author: str
    kind: str
    object_id: int
    verb: str
    old: Mapping[str, Any] | None
    new: Mapping[str, Any] | None

    @property
    def is_value(self) -> bool:
        """True for a change of one setting."""
        told = self.new or {}
        return self.verb.startswith("set ") and "scope" in told and "value" in told

    @property
    def is_text(self) -> bool:
        """True for a change of a long text, of which the history has the size alone."""
        return self.verb == "set content"

    @property
    def is_rights(self) -> bool:
        """True for a change of rights in a public folder, which are kept with the mail."""
        return (self.kind, self.verb) == (RIGHTS_KIND, RIGHTS_VERB)

    def changes(self) -> dict[str, Change]:
        """What was changed, by name; `*` where a whole object was made or removed."""
        old, new = dict(self.old or {}), dict(self.new or {})
        if self.is_rights:
            name = f"rights of {new.get('who')} in {new.get('folder') or 'all folders'}"
            return {name: (_rights(old.get("rights")), _rights(new.get("rights")))}
        if self.is_value:
            return {str(new["name"]): (old.get("value"), new.get("value"))}
        if self.is_text:
            return {f"text {new.get('name', '')}": (None, None)}
        if self.verb in _SWITCHES:
            return {"enabled": (not _SWITCHES[self.verb], _SWITCHES[self.verb])}
        if self.verb in _PERMISSIONS:
            return {f"{new.get('permission')} on {new.get('domain') or 'the server'}": (None, self.verb)}
        if self.verb.endswith(("alias", "member")) and self.verb.startswith(("add ", "remove ")):
            what = self.verb.partition(" ")[2]
            name = str({**old, **new}.get(what, ""))
            return {f"{what} {name}": (None, name) if self.verb.startswith("add") else (name, None)}
        if self.old is None and self.new is not None and self.verb.startswith(("set ", "rename", "update")):
            return {name: (None, value) for name, value in new.items()}
        if self.old is None or self.new is None:
            return {"*": (self.old, self.new)}
        return {name: (old.get(name), new.get(name)) for name in dict.fromkeys((*old, *new)) if old.get(name) != new.get(name)}

    def lines(self) -> Iterator[str]:
        """`name: before -> after` of each change."""
        for name, (before, after) in self.changes().items():
            if name == "*":
                told = before if after is None else after
                if told:
                    yield ", ".join(f"{key} = {_shown(value)}" for key, value in told.items())
            elif self.is_text:
                yield f"{name}: {(self.new or {}).get('characters', 0)} characters"
            elif before is None and self.old is None:
                yield f"{name}: {_shown(after)}"
            else:
                yield f"{name}: {_shown(before)} -> {_shown(after)}"


def _rights(letters: str | None) -> str:
    return "inherited" if letters is None else letters or "none"


def _shown(value: Any) -> str:
    if value is None:
        return "(none)"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return " ".join(_shown(one) for one in value)
    if isinstance(value, dict):
        # A member of a group or list: its number is nothing to be read.
        return "(" + ", ".join(f"{name} {_shown(one)}" for name, one in value.items() if name != "id") + ")"
    text = str(value).replace("\r", "").replace("\n", "\\n")
    return text if len(text) <= 200 else f"{text[:200]}..."


@dataclass(frozen=True, slots=True)
class Filter:
    """Which entries are wanted. `objects` are (kind, id, verb), None or "" for any; `since` in microseconds since 1970."""

    objects: Sequence[tuple[str | None, int | None, str]] = ()
    author: str = ""
    since: int = 0
    after: int = 0
    """Entries with a higher number."""


def entries(database: SystemDatabase, wanted: Filter, *, limit: int = 100, newest_first: bool = True) -> list[HistoryEntry]:
    """At most `limit` entries, the newest ones (or with `newest_first` false the oldest ones) first."""
    where, values = ["seq > ?", "time >= ?"], [wanted.after, wanted.since]
    parameters: list[Any] = list(values)
    if wanted.author:
        where.append("lower(author) = lower(?)")
        parameters.append(wanted.author)
    if wanted.objects:
        alternatives = []
        for kind, object_id, verb in wanted.objects:
            parts = []
            for column, value in (("kind", kind), ("object_id", object_id), ("verb", verb or None)):
                if value is not None:
                    parts.append(f"{column} = ?")
                    parameters.append(value)
            alternatives.append("(" + " AND ".join(parts or ["1 = 1"]) + ")")
        where.append("(" + " OR ".join(alternatives) + ")")
    order = "DESC" if newest_first else "ASC"
    rows = database.query(
        "SELECT seq, time, author, kind, object_id, verb, old, new FROM history "
        f"WHERE {' AND '.join(where)} ORDER BY seq {order} LIMIT ?",
        (*parameters, limit),
    )
    return [_entry(row) for row in rows]


def entry(database: SystemDatabase, seq: int) -> HistoryEntry | None:
    """One entry by its number."""
    row = database.query_row("SELECT seq, time, author, kind, object_id, verb, old, new FROM history WHERE seq = ?", (seq,))
    return None if row is None else _entry(row)


def _entry(row: tuple[Any, ...]) -> HistoryEntry:
    seq, time, author, kind, object_id, verb, old, new = row
    return HistoryEntry(seq, time, author, kind, object_id, verb, _read(old), _read(new))


def _read(text: str | None) -> Mapping[str, Any] | None:
    if text is None:
        return None
    found = json.loads(text)
    return {name: HIDDEN if name in SECRET_FIELDS else value for name, value in found.items()}


async def purge_history(database: SystemDatabase, now: int) -> int:
    """Forget what is older than `server.historyDays`; `now` in microseconds since 1970. The number of rows removed.

    Of members of great changes (see `directory.member_history`) the oldest beyond MEMBER_ROWS are forgotten besides: whoever gives
    a long list anew every night would fill the disk with them.

    In short transactions, from the oldest row on, so that other writers wait for none of them long.
    """
    server = SERVICE_CONTEXTS["server"]
    setting = server.setting("historyDays")
    row = database.query_row(
        "SELECT value FROM setting WHERE scope = 'service' AND scope_id = 0 AND name = ?", (server.stored_name(setting),)
    )
    days = int(str(setting.default if row is None else setting.parse(row[0])))
    before = now - days * DAY_US

    def operation(transaction: Transaction) -> int:
        rows = transaction.execute("SELECT seq, time FROM history ORDER BY seq LIMIT ?", (PURGED_AT_ONCE + 1,))
        old = [seq for seq, _time in itertools.takewhile(lambda row: row[1] < before, rows)]
        if len(old) == len(rows):
            old = old[:-1]  # the newest of all, or the first of the next round
        if old:
            # One entry of many members is enough for a transaction.
            many = transaction.value("SELECT min(seq) FROM history_member WHERE seq <= ?", (old[-1],))
            if many is not None:
                old = [seq for seq in old if seq <= many] or old[:1]
            transaction.execute("DELETE FROM history WHERE seq <= ?", (old[-1],))
            transaction.execute("DELETE FROM history_member WHERE seq <= ?", (old[-1],))
        return len(old)

    def crowded(transaction: Transaction) -> int:
        if transaction.value("SELECT count(*) FROM history_member") <= MEMBER_ROWS:
            return 0
        transaction.execute("DELETE FROM history_member WHERE seq = (SELECT min(seq) FROM history_member)")
        return transaction.changed()

    total = 0
    while removed := await database.write(operation):
        total += removed
    while await database.write(crowded):
        pass
    return total
