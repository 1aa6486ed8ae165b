"""What a configuration consists of: kinds of nodes, their keys, fields, tables of settings, and children.

Invariants:
- Every value has a declaration (Setting); texts of any length are free tables.
- A node is told from its siblings by the identity of its key, which is what the directory compares; keys never change
  by an import (another key is another node).
- A table or node lies at one place of the database: a scope, with the id of the node it belongs to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from mailstead.directory.address import checked_domain, checked_local, local_key
from mailstead.directory.recipient_kinds import FOLDER, GROUP, LIST
from mailstead.settings.declaration import Context, Kind, ObjectKind, Setting, boolean, choice, integer, secret, text, words
from mailstead.settings.declarations import (
    ACCESS_LIMITS,
    ACCOUNT,
    ACCOUNT_DATA,
    CONTACT_INFO,
    DOMAIN,
    DOMAIN_CONTEXTS,
    LIST_LIMITS,
    LIST_QUOTAS,
    LIST_WEBMAIL_DATA,
    LISTENER,
    OBJECT_KINDS,
    SERVICE_CONTEXTS,
    SMS_CONNECTOR_AUTH,
    WEBMAIL_DATA,
)
from mailstead.settings.ip_set import IpSet, split_host_port
from mailstead.settings.listeners import known_service, listener_defaults

SECRET = "(secret)"
"""Stands for a secret that is not told; in an import it leaves the present one as it is."""

SECTIONS = (
    "services", "accountDefaults", "listeners", "accessRules", "objects", "texts", "administrators", "domains", "accounts",
)  # fmt: skip
"""What a file may say it is complete in."""


@dataclass(frozen=True, slots=True)
class Table:
    """Values of a node: of `context`, or free (names to texts) without one.

    `scope` is where explicit values (or long texts) lie; empty: the node's own fields (a group's members).
    """

    context: Context | None
    scope: str = ""

    def setting(self, name: str) -> Setting | None:
        """The declaration of a name in any case."""
        return None if self.context is None else self.context.by_name.get(name.lower())


Key = tuple[str, ...]


def _exact(key: Key) -> Key:
    return key


@dataclass(frozen=True, slots=True)
class NodeType:
    """A kind of node. `keys` tell siblings apart; `fields` are its own values; children and tables by their TOML keys."""

    name: str
    keys: tuple[Setting, ...] = ()
    fields: tuple[Setting, ...] = ()
    tables: Mapping[str, Table] = field(default_factory=dict)
    children: Mapping[str, NodeType] = field(default_factory=dict)
    kind: ObjectKind | None = None
    """Of a named object."""
    scope: str = ""
    """Owner scope of a named object."""
    identity: Callable[[Key], Key] = _exact
    """What of a key is compared; raises ValueError or DirectoryError for what is no such key."""
    defaults: Callable[[Key], Mapping[str, object]] | None = None
    """Defaults of fields that depend on the key."""

    def field(self, name: str) -> Setting | None:
        """The declaration of a field in any case."""
        lowered = name.lower()
        return next((setting for setting in self.fields if setting.name.lower() == lowered), None)


@dataclass(slots=True)
class Node:
    """One node with its values as canonical text.

    `number` is the id of its row, 0 before there is one. `lines` tells where a file has its values: "" the node,
    `table.name` a value.
    """

    type: NodeType
    key: Key = ()
    fields: dict[str, str] = field(default_factory=dict)
    tables: dict[str, dict[str, str]] = field(default_factory=dict)
    children: dict[str, dict[Key, Node]] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    number: int = 0

    def add(self, name: str, child: Node) -> None:
        """Add a child under a TOML key."""
        self.children.setdefault(name, {})[child.type.identity(child.key)] = child

    def default(self, setting: Setting) -> str:
        """The text of a field's default."""
        value: Any = setting.default
        if self.type.defaults is not None:
            value = self.type.defaults(self.key).get(setting.name, value)
        return setting.render(value)

    def title(self) -> str:
        """The node in words: `domain example.org`."""
        return " ".join((self.type.name, *(part or '""' for part in self.key)))

    def walk(self) -> Iterator[Node]:
        """The node and everything below it, parents first."""
        yield self
        for siblings in self.children.values():
            for child in siblings.values():
                yield from child.walk()


def section_of(toml_key: str) -> str:
    """The section a table or child of the root belongs to."""
    first = toml_key.partition(".")[0]
    if first.endswith("Objects"):
        return "objects"
    return {"administratorGroups": "administrators", "accountDefaultTexts": "accountDefaults"}.get(first, first)


# -- identities ---------------------------------------------------------------------------------------------


def _domain(key: Key) -> Key:
    return (checked_domain(key[0])[1],)


def _local(key: Key) -> Key:
    return (local_key(checked_local(key[0])),)


def _listener(key: Key) -> Key:
    host, port = split_host_port(key[1])
    return (known_service(key[0]), host, str(port))


def _rule(key: Key) -> Key:
    action, ip_set = key[-2:]
    return (*(known_service(name) for name in key[:-2]), action, str(IpSet.parse(ip_set)))


def _permissions(key: Key) -> Key:
    return (checked_domain(key[0])[1] if key[0] else "",)


# -- the nodes ----------------------------------------------------------------------------------------------

TEXTS = "texts"
_OWNED: Mapping[str, tuple[str, ...]] = {"preset": ("presetFilter",), "smsConnector": ("staticParam",)}
_OBJECT_TABLES: Mapping[str, Mapping[str, Table]] = {"smsConnector": {"auth": Table(SMS_CONNECTOR_AUTH, "object")}}


def _object(kind: ObjectKind, scope: str) -> NodeType:
    key = kind.context.setting(kind.key)
    return NodeType(
        kind.name,
        (key,),
        tuple(setting for setting in kind.context.settings if setting is not key),
        {**_OBJECT_TABLES.get(kind.name, {}), TEXTS: Table(None, "object")},
        {name: _object(OBJECT_KINDS[name], "object") for name in _OWNED.get(kind.name, ())},
        kind,
        scope,
        lambda key: (kind.key_of(key[0]),),
    )


def _objects(scope: str, prefix: str = "objects") -> dict[str, NodeType]:
    return {f"{prefix}.{kind.name}": _object(kind, scope) for kind in OBJECT_KINDS.values() if scope in kind.owners}


def _key(name: str, help: str) -> Setting:
    return Setting(name, Kind.TEXT, "", help, minimum=1, maximum=320)


_ENABLED = boolean("enabled", True, "In use")
_RULE_FIELDS = (
    boolean("enable", False, "The rule holds"),
    integer("priority", 500, 1, 1000, "Order of the rules; 1 = first"),
    *ACCESS_LIMITS.settings,
)
_RULE_KEYS = (choice("action", "allow", ("allow", "deny"), "What the rule does"), _key("ipSet", "Address, range or network"))
_SERVICE = _key("service", "Service it is of; global = all")

RULE = NodeType("rule", _RULE_KEYS, _RULE_FIELDS, identity=_rule)
ACCESS_RULE = NodeType("access rule", (_SERVICE, *_RULE_KEYS), _RULE_FIELDS, identity=_rule)
LISTENER_NODE = NodeType(
    "listener", (_key("service", "Service that listens"), _key("address", "Address and port")), LISTENER.settings, {},
    {"rules": RULE}, identity=_listener, defaults=lambda key: listener_defaults(key[0]),
)  # fmt: skip

_PASSWORD = (secret("password", "Hash of the password", longest=4096), secret("scram", "Keys of SCRAM", longest=8192))
_RECOVERABLE = secret("recoverable", "Password that can be recovered", longest=4096)
PERMISSIONS = NodeType(
    "permissions",
    (Setting("domain", Kind.TEXT, "", "Domain; empty = the server"),),
    (words("grant", (), "Permissions given"), words("deny", (), "Permissions refused")),
    identity=_permissions,
)
_HOLDER_FIELDS = (text("description", "", "Description"), words("groups", (), "Groups it belongs to"))
ADMIN_GROUP = NodeType("administrator group", (_key("name", "Name"),), _HOLDER_FIELDS, {}, {"permissions": PERMISSIONS})
ADMIN = NodeType(
    "administrator",
    (_key("name", "Name"),),
    (*_HOLDER_FIELDS, _ENABLED, boolean("everything", False, "Has every right"), *_PASSWORD),
    {},
    {"permissions": PERMISSIONS, **_objects("admin")},
)

_NAME = _key("name", "Name")
CLASS = NodeType(
    "account class", (_NAME,), (), {"settings": Table(ACCOUNT, "class"), TEXTS: Table(None, "class")}, _objects("class")
)
GROUP_NODE = NodeType(
    "group",
    (_NAME,),
    (_ENABLED, *GROUP.settings),
    {"members": Table(None), TEXTS: Table(None, "recipient")},
    _objects("recipient"),
    identity=_local,
)
LIST_NODE = NodeType(
    "list",
    (_NAME,),
    (
        _ENABLED,
        *LIST.settings,
        words("digestMembers", (), "Members who get digests"),
        words("nomailMembers", (), "Members who get nothing"),
        *_PASSWORD,
        _RECOVERABLE,
    ),
    {
        "members": Table(None),
        "limits": Table(LIST_LIMITS, "recipient"),
        "quotas": Table(LIST_QUOTAS, "recipient"),
        "webmailData": Table(LIST_WEBMAIL_DATA, "recipient"),
        TEXTS: Table(None, "recipient"),
    },
    _objects("recipient"),
    identity=_local,
)
FOLDER_NODE = NodeType(
    "folder recipient", (_NAME,), (_ENABLED, *FOLDER.settings), {TEXTS: Table(None, "recipient")}, _objects("recipient"),
    identity=_local,
)
ACCOUNT_NODE = NodeType(
    "account",
    (_NAME,),
    (
        _ENABLED,
        text("fullName", "", "Name in full", longest=255),
        text("class", "", "Account class", longest=64),
        words("aliases", (), "More names"),
        boolean("mustChangePass", False, "The password must be changed at the next login"),
        *_PASSWORD,
        _RECOVERABLE,
    ),
    {
        "settings": Table(ACCOUNT, "account"),
        "data": Table(ACCOUNT_DATA, "accountData"),
        "contactInfo": Table(CONTACT_INFO, "accountData"),
        "webmailData": Table(WEBMAIL_DATA, "accountData"),
        TEXTS: Table(None, "accountData"),
        "settingTexts": Table(None, "account"),
    },
    _objects("account"),
    identity=_local,
)
DOMAIN_NODE = NodeType(
    "domain",
    (_NAME,),
    (_ENABLED, words("aliases", (), "More names")),
    {
        "settings": Table(DOMAIN, "domainConfig"),
        **{name: Table(context, "domainConfig") for name, context in DOMAIN_CONTEXTS.items()},
        "accountDefaults": Table(ACCOUNT, "domain"),
        TEXTS: Table(None, "domainConfig"),
        "accountDefaultTexts": Table(None, "domain"),
    },
    {
        **_objects("domainConfig"),
        **_objects("domain", "accountDefaultObjects"),
        "classes": CLASS,
        "groups": GROUP_NODE,
        "lists": LIST_NODE,
        "folderRecipients": FOLDER_NODE,
        "accounts": ACCOUNT_NODE,
    },
    identity=_domain,
)

ROOT = NodeType(
    "server",
    (),
    (),
    {
        **{f"services.{name}": Table(context, "service") for name, context in SERVICE_CONTEXTS.items()},
        "accountDefaults": Table(ACCOUNT, "defaults"),
        TEXTS: Table(None, "service"),
        "accountDefaultTexts": Table(None, "defaults"),
    },
    {
        "listeners": LISTENER_NODE,
        "accessRules": ACCESS_RULE,
        **_objects("service"),
        **{key: kind for service in ("webmail", "webadmin", "webmailProxy")
           for key, kind in _objects(service, f"{service}Objects").items()},
        "administratorGroups": ADMIN_GROUP,
        "administrators": ADMIN,
        "domains": DOMAIN_NODE,
    },
)  # fmt: skip
