"""The configuration of a server as a tree, read from its database.

Invariants: what is in the tree differs from the default, or is explicit where values are inherited; rows that this release
does not know, and objects under owners it does not know, are left out and counted; secrets are in the tree only when asked
for, else their mark.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping

from mailstead.directory.configuration.schema import (
    ACCESS_RULE,
    ADMIN,
    ADMIN_GROUP,
    DOMAIN_NODE,
    LISTENER_NODE,
    PERMISSIONS,
    ROOT,
    RULE,
    SECRET,
    Node,
    NodeType,
)
from mailstead.settings.database import Query, SystemDatabase
from mailstead.settings.declaration import InvalidValueError, Kind, Setting

_RECIPIENTS = {"group": "groups", "list": "lists", "folder": "folderRecipients"}
_INHERITED = frozenset({"defaults", "domain", "class", "account"})


def read_configuration(
    database: SystemDatabase, *, accounts: bool = False, secrets: bool = False, left_out: Counter[str] | None = None
) -> Node:
    """The whole configuration at one moment; `accounts` with every account, `secrets` with secrets and password hashes.

    `left_out` counts rows, by what they are, that no place of the tree is for: another release wrote them.
    """
    with database.snapshot() as query:
        reader = _Reader(query, accounts, secrets)
        root = reader.read()
        if left_out is not None:
            left_out.update(reader.left_out())
    return root


class _Reader:
    def __init__(self, query: Query, accounts: bool, secrets: bool) -> None:
        self._query = query
        self._accounts = accounts
        self._secrets = secrets
        self._values: dict[tuple[str, int], dict[str, str]] = defaultdict(dict)
        self._texts: dict[tuple[str, int], dict[str, str]] = defaultdict(dict)
        self._objects: dict[tuple[str, int, str], list[tuple[int, Mapping[str, str]]]] = defaultdict(list)
        self._used: set[tuple[object, ...]] = set()

    def read(self) -> Node:
        query = self._query
        for scope, scope_id, name, value in query("SELECT scope, scope_id, name, value FROM setting"):
            self._values[scope, scope_id][name] = value
        for scope, scope_id, name, value in query("SELECT scope, scope_id, name, value FROM content"):
            self._texts[scope, scope_id][name] = value
        for number, kind, scope, scope_id, attributes in query(
            "SELECT id, kind, scope, scope_id, attributes FROM object ORDER BY kind, key"
        ):
            self._objects[scope, scope_id, kind].append((number, json.loads(attributes)))
        root = Node(ROOT)
        self._fill(root, 0)
        self._listeners(root)
        self._administrators(root)
        self._domains(root)
        return root

    def left_out(self) -> Iterator[str]:
        """What each row is that was not used."""
        own = () if self._accounts else ("account", "accountData")
        for (scope, number), values in self._values.items():
            for name in values:
                if scope not in own and (scope, number, name) not in self._used:
                    yield f"setting {scope} {name}"
        for place in self._texts:
            if place[0] not in own and place not in self._used:
                yield f"texts of {place[0]}"
        for scope, number, kind in self._objects:
            if scope not in own and (scope, number, kind) not in self._used:
                yield f"{kind} of {scope}"

    # -- values ---------------------------------------------------------------------------------------------

    def _text(self, setting: Setting, stored: str, default: str) -> str | None:
        """Canonical text, None where it is the default or is not allowed any more."""
        try:
            text = setting.render(setting.parse(stored))
        except InvalidValueError:
            return None
        if text == default:
            return None
        return SECRET if setting.secret and not self._secrets else text

    def _fields(self, node: Node, stored: Mapping[str, str]) -> None:
        for setting in node.type.fields:
            if setting.name not in stored:
                continue
            text = self._text(setting, stored[setting.name], node.default(setting))
            if text is not None:
                node.fields[setting.name] = text

    def _fill(self, node: Node, number: int) -> None:
        """Tables and named objects of a node."""
        for name, table in node.type.tables.items():
            if not table.scope:
                continue
            if table.context is None:
                self._used.add((table.scope, number))
                texts = self._texts.get((table.scope, number))
                if texts:
                    node.tables[name] = dict(sorted(texts.items()))
                continue
            rows = self._values.get((table.scope, number), {})
            found: dict[str, str] = {}
            for setting in table.context.settings:
                row = table.context.stored_name(setting)
                stored = rows.get(row)
                if stored is None:
                    continue
                self._used.add((table.scope, number, row))
                if table.scope in _INHERITED:
                    try:
                        found[setting.name] = setting.render(setting.parse(stored))
                    except InvalidValueError:
                        continue
                elif (text := self._text(setting, stored, setting.render(setting.default))) is not None:
                    found[setting.name] = text
            if found:
                node.tables[name] = found
        for name, child in node.type.children.items():
            if child.kind is not None:
                self._named(node, name, child, number)

    def _named(self, owner: Node, name: str, node_type: NodeType, owner_id: int) -> None:
        assert node_type.kind is not None
        key = node_type.keys[0]
        self._used.add((node_type.scope, owner_id, node_type.kind.name))
        found: list[tuple[str, int, Mapping[str, str]]] = []
        for number, attributes in self._objects.get((node_type.scope, owner_id, node_type.kind.name), ()):
            try:
                found.append((key.render(key.parse(attributes.get(key.name, ""))), number, attributes))
            except InvalidValueError:
                continue
        if key.kind is Kind.INT:
            found.sort(key=lambda one: int(one[0]))
        for written, number, attributes in found:
            node = Node(node_type, (written,), number=number)
            self._fields(node, attributes)
            self._fill(node, number)
            owner.add(name, node)

    # -- listeners ------------------------------------------------------------------------------------------

    def _listeners(self, root: Node) -> None:
        by_id: dict[int, Node] = {}
        for number, service, host, port, attributes in self._query(
            "SELECT id, service, host, port, attributes FROM listener ORDER BY service, host, port"
        ):
            address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            node = by_id[number] = Node(LISTENER_NODE, (service, address), number=number)
            self._fields(node, json.loads(attributes))
            root.add("listeners", node)
        for service, listener, action, ip_set, enable, priority, attributes in self._query(
            "SELECT service, listener_id, action, ip_set, enable, priority, attributes FROM access_rule "
            "ORDER BY service, priority, action, ip_set"
        ):
            if listener and listener not in by_id:
                continue
            node = Node(RULE, (action, ip_set)) if listener else Node(ACCESS_RULE, (service, action, ip_set))
            stored = {"enable": "yes" if enable else "no", "priority": str(priority), **json.loads(attributes)}
            self._fields(node, stored)
            if listener:
                by_id[listener].add("rules", node)
            else:
                root.add("accessRules", node)

    # -- administrators -------------------------------------------------------------------------------------

    def _administrators(self, root: Node) -> None:
        query = self._query
        names: dict[int, str] = dict(query("SELECT id, name FROM admin_group"))
        groups: dict[int, list[str]] = defaultdict(list)
        for group, member in query("SELECT group_id, member_id FROM admin_member"):
            if group in names:
                groups[member].append(names[group])
        domains: dict[int, str] = dict(query("SELECT id, name FROM domain"))
        holders: dict[int, Node] = {}
        for number, name, description in query("SELECT id, name, description FROM admin_group ORDER BY name"):
            node = holders[number] = Node(ADMIN_GROUP, (name,), number=number)
            self._fields(node, {"description": description, "groups": _words(groups[number])})
            root.add("administratorGroups", node)
        for number, name, description, enabled, everything, password, scram in query(
            "SELECT id, name, description, enabled, super, password, scram FROM admin ORDER BY name"
        ):
            node = holders[number] = Node(ADMIN, (name,), number=number)
            stored = {
                "description": description, "groups": _words(groups[number]), "enabled": _yes(enabled),
                "everything": _yes(everything), "password": password, "scram": scram,
            }  # fmt: skip
            self._fields(node, stored)
            self._fill(node, number)
            root.add("administrators", node)
        entries: dict[tuple[int, str], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        for holder, domain, permission, effect in query("SELECT holder_id, domain_id, permission, effect FROM admin_permission"):
            if holder in holders and (domain == 0 or domain in domains):
                entries[holder, domains.get(domain, "")][effect].append(permission)
        for (holder, domain), effects in sorted(entries.items(), key=lambda item: item[0][1]):
            node = Node(PERMISSIONS, (domain,))
            self._fields(node, {effect: _words(names) for effect, names in effects.items()})
            holders[holder].add("permissions", node)

    # -- domains --------------------------------------------------------------------------------------------

    def _domains(self, root: Node) -> None:
        query = self._query
        aliases: dict[int, list[str]] = defaultdict(list)
        for domain, name in query("SELECT domain_id, name FROM domain_name WHERE main = 0"):
            aliases[domain].append(name)
        nodes: dict[int, Node] = {}
        for number, name, enabled in query("SELECT id, name, enabled FROM domain ORDER BY name"):
            node = nodes[number] = Node(DOMAIN_NODE, (name,), number=number)
            self._fields(node, {"enabled": _yes(enabled), "aliases": _words(aliases[number])})
            self._fill(node, number)
            root.add("domains", node)
        classes: dict[int, str] = {}
        for number, domain, name in query("SELECT id, domain_id, name FROM account_class ORDER BY name"):
            classes[number] = name
            if domain in nodes:
                node = Node(DOMAIN_NODE.children["classes"], (name,), number=number)
                self._fill(node, number)
                nodes[domain].add("classes", node)
        self._recipients(nodes)
        if self._accounts:
            self._read_accounts(nodes, classes)

    def _recipients(self, domains: Mapping[int, Node]) -> None:
        members: dict[int, dict[str, str]] = defaultdict(dict)
        wishes: dict[tuple[int, str], list[str]] = defaultdict(list)
        for recipient, address, name, digest, nomail in self._query(
            "SELECT recipient_id, address, name, digest, nomail FROM member ORDER BY recipient_id, address"
        ):
            members[recipient][address] = name
            for wish, on in (("digest", digest), ("nomail", nomail)):
                if on:
                    wishes[recipient, wish].append(address)
        for number, kind, domain, name, enabled, password, scram, recoverable, attributes in self._query(
            "SELECT id, kind, domain_id, name, enabled, password, scram, recoverable, attributes FROM recipient ORDER BY name"
        ):
            if domain not in domains or kind not in _RECIPIENTS:
                continue
            key = _RECIPIENTS[kind]
            node = Node(DOMAIN_NODE.children[key], (name,), number=number)
            stored = {
                **json.loads(attributes), "enabled": _yes(enabled), "password": password, "scram": scram,
                "recoverable": recoverable, "digestMembers": _words(wishes[number, "digest"]),
                "nomailMembers": _words(wishes[number, "nomail"]),
            }  # fmt: skip
            self._fields(node, stored)
            if "members" in node.type.tables and members.get(number):
                node.tables["members"] = members[number]
            self._fill(node, number)
            domains[domain].add(key, node)

    def _read_accounts(self, domains: Mapping[int, Node], classes: Mapping[int, str]) -> None:
        aliases: dict[int, list[str]] = defaultdict(list)
        for account, name in self._query(
            "SELECT object_id, name FROM address WHERE kind = 'account' AND main = 0 AND expires = 0"
        ):
            aliases[account].append(name)
        for row in self._query(
            "SELECT id, domain_id, name, class_id, enabled, full_name, must_change, password, scram, recoverable "
            "FROM account ORDER BY name"
        ):
            number, domain, name, class_id, enabled, full_name, must_change, password, scram, recoverable = row
            if domain not in domains:
                continue
            node = Node(DOMAIN_NODE.children["accounts"], (name,), number=number)
            stored = {
                "enabled": _yes(enabled), "fullName": full_name, "class": classes.get(class_id, ""),
                "aliases": _words(aliases[number]), "mustChangePass": _yes(must_change), "password": password,
                "scram": scram, "recoverable": recoverable,
            }  # fmt: skip
            self._fields(node, stored)
            self._fill(node, number)
            domains[domain].add("accounts", node)


def _yes(value: object) -> str:
    return "yes" if value else "no"


_ANY_WORDS = Setting("words", Kind.LIST, (), "")


def _words(names: Iterable[str]) -> str:
    return _ANY_WORDS.render(tuple(sorted(names)))
