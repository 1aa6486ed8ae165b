"""Settings that name something else: which ones (`Setting.names`), and whether what they name is there.

Invariants: a connector that a new value names is there once all that is written with it is, and so is a script or socket filter
that is switched on. Other names are taken as they are, for what they name may come later, or lies outside the database: they are
told by `mailstead doctor`. Empty and `none` name nothing. What a setting has already may be set again, whatever it names.

`names` is the name of an ObjectKind of the server (`ldapConnector`, `usermap`), or `filter`, `domain`, `file` (of any kind;
under the data directory where it is relative) or `template` (a file under `server.templatesPath`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from mailstead.settings.database import Query, SystemDatabase
from mailstead.settings.declaration import Context, InvalidValueError, ObjectKind, Setting
from mailstead.settings.declarations import ACCOUNT, DOMAIN, LISTENER, OBJECT_KINDS, SERVICE_CONTEXTS

LOOKED_UP = frozenset({"ldapConnector", "oauthConnector", "smsConnector"})
"""What must be there when it is named: each has a COMMIT of its own, which comes before what names it. A user map waits for the
COMMIT of the server's context, and may come after that of the service that names it."""
NOTHING = ("", "none")
"""Texts of a setting that names nothing; as `certFile` of a listener: no TLS is offered."""
ACTIVE_FILTERS = frozenset({"activeFilter", "accountActiveFilter"})
FILTER_NAME, FILTER_TYPE = "filterName", "filterType"
_FILTER_KINDS: Mapping[str, str] = {"script": "scriptFilter", "socket": "socketFilter"}
"""Kinds of filters that are objects; the others are built in, or may be."""
_OWN = (("service", 0),)


class Reference(NamedTuple):
    """A value that names something: `where` in words, the setting, and its text."""

    where: str
    setting: Setting
    text: str


def is_new(query: Query, scope: str, scope_id: int, stored: str, text: str | None) -> bool:
    """Whether a setting, by the name of its row, does not have that text yet: programs send back all that they read."""
    return query("SELECT value FROM setting WHERE scope = ? AND scope_id = ? AND name = ?", (scope, scope_id, stored)) != [(text,)]


def need_named(query: Query, setting: Setting, text: str | None) -> None:
    """Raise InvalidValueError for the name of a connector that is not there."""
    if setting.names in LOOKED_UP and text is not None and not is_there(query, setting.names, text):
        raise InvalidValueError(f"{setting.name}: there is no {setting.names} {text[:80]}")


def need_filter(query: Query, kind: ObjectKind, attributes: Mapping[str, str], scope: str, scope_id: int, domain_id: int) -> None:
    """Raise InvalidValueError for an active filter, lying at a place, of a script or socket filter that is not there: a script
    lies at the same place, in its domain, or in the server; a socket filter in the server."""
    filter_type, name = _text(kind.context, attributes, FILTER_TYPE), _text(kind.context, attributes, FILTER_NAME)
    wanted = _FILTER_KINDS.get(filter_type)
    if wanted is None:
        return
    places = [*_OWN, (scope, scope_id), ("domainConfig", domain_id), ("domain", domain_id)] if filter_type == "script" else _OWN
    if not name or not any(_object(query, wanted, name, place) for place in places):
        raise InvalidValueError(f"{FILTER_NAME}: there is no {wanted} {name[:80]} here, or in the server")


def is_there(query: Query, names: str, text: str) -> bool:
    """Whether an object of the server is there under a name; also True for what names none."""
    return text in NOTHING or _object(query, names, text, _OWN[0])


def references(database: SystemDatabase) -> Iterator[Reference]:
    """Every explicit value that names something, but that of a filter."""
    stored = _stored_names()
    marks = ", ".join("?" * len(stored))
    rows = database.query(f"SELECT scope, scope_id, name, value FROM setting WHERE name IN ({marks}) ORDER BY rowid", [*stored])
    for scope, scope_id, name, text in rows:
        if text not in NOTHING:
            where = str(name).rpartition(".")[0] if scope == "service" else _row(database, scope, scope_id)[1]
            yield Reference(where, stored[name], str(text))
    for service, host, port, attributes in database.query("SELECT service, host, port, attributes FROM listener ORDER BY id"):
        where = f"{service} [{host}]:{port}" if ":" in host else f"{service} {host}:{port}"
        yield from _named_in(LISTENER, where, json.loads(attributes))
    for kind_name, key, attributes in database.query("SELECT kind, key, attributes FROM object ORDER BY kind, key"):
        kind = OBJECT_KINDS.get(kind_name)
        if kind is not None and kind_name not in ACTIVE_FILTERS:
            yield from _named_in(kind.context, f"{kind_name} {key}", json.loads(attributes))


def _stored_names() -> dict[str, Setting]:
    """Settings that name something, by the name of their rows."""
    contexts = (*SERVICE_CONTEXTS.values(), DOMAIN, ACCOUNT)
    return {context.stored_name(one): one for context in contexts for one in context.settings if one.names}


def dangling_filters(database: SystemDatabase) -> Iterator[str]:
    """Active filters whose filter is gone, in words."""
    sql = "SELECT kind, scope, scope_id, key, attributes FROM object WHERE kind IN (?, ?) ORDER BY kind, scope, scope_id, key"
    for name, scope, scope_id, key, attributes in database.query(sql, sorted(ACTIVE_FILTERS)):
        try:
            domain_id = _row(database, scope, scope_id)[0]
            need_filter(database.query, OBJECT_KINDS[name], json.loads(attributes), scope, scope_id, domain_id)
        except InvalidValueError as error:
            yield f"{name} {key} of {_row(database, scope, scope_id)[1]}: {error}"


_ACCOUNT = "SELECT a.domain_id, a.name || '@' || d.name FROM {} a JOIN domain d ON d.id = a.domain_id WHERE a.id = ?"
_DOMAIN = "SELECT id, 'domain ' || name FROM domain WHERE id = ?"
_PLACES: Mapping[str, str] = {
    "account": _ACCOUNT.format("account"),
    "recipient": _ACCOUNT.format("recipient"),
    "class": "SELECT c.domain_id, 'class ' || c.name || ' of ' || d.name FROM account_class c "
    "JOIN domain d ON d.id = c.domain_id WHERE c.id = ?",
    "domain": _DOMAIN,
    "domainConfig": _DOMAIN,
}
"""By scope: the domain's id, and what the place is called."""


def _row(database: SystemDatabase, scope: str, scope_id: int) -> tuple[int, str]:
    sql = _PLACES.get(scope)
    row = database.query_row(sql, (scope_id,)) if sql is not None else None
    return (0, "the server") if row is None else (int(row[0]), str(row[1]))


def _named_in(context: Context, where: str, attributes: Mapping[str, str]) -> Iterator[Reference]:
    for name, text in attributes.items():
        setting = context.by_name.get(name.lower())
        if setting is not None and setting.names and text not in NOTHING:
            yield Reference(where, setting, text)


def _text(context: Context, attributes: Mapping[str, str], name: str) -> str:
    setting = context.setting(name)
    return attributes.get(name, setting.render(setting.default))


def _object(query: Query, kind: str, name: str, place: tuple[str, int]) -> bool:
    sql = "SELECT 1 FROM object WHERE scope = ? AND scope_id = ? AND kind = ? AND key = ?"
    return bool(query(sql, (*place, kind, OBJECT_KINDS[kind].key_of(name))))
