"""What would have to change so that a server is as a file says.

Invariants: only sections that the file is complete in lose anything; a secret that the file does not tell is no
difference; the order is that of the schema, so equal inputs give equal lists; secrets are never in a line.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from mailstead.directory.configuration.schema import SECRET, Node, NodeType, Table, section_of
from mailstead.settings.declaration import Setting

MAX_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Difference:
    """One change. `path` leads to the parent for a whole node (`added`, `removed`), to the node for a value.

    A value is of the table `table` ("" for fields), with its text before and after (None: the default, or inherited).
    """

    path: tuple[Node, ...]
    child: str = ""
    added: Node | None = None
    removed: Node | None = None
    table: str = ""
    name: str = ""
    old: str | None = None
    new: str | None = None
    line: int = 0
    """Where the file says so; 0 where it does not say."""

    @property
    def place(self) -> str:
        """The node in words, from the outside in."""
        return ", ".join(node.title() for node in self.path[1:])

    @property
    def is_secret(self) -> bool:
        """Whether a value is one that must not be shown."""
        if self.added is not None or self.removed is not None:
            return False
        setting = _declared(self.path[-1].type, self.table, self.name)
        return setting is not None and setting.secret

    def lines(self) -> Iterator[str]:
        """Readable, one or more lines."""
        if self.added is not None:
            yield f"+ {_joined(self.place, self.added.title())}"
            yield from _content(self.added, "+   ")
        elif self.removed is not None:
            accounts = len(self.removed.children.get("accounts", ()))
            yield f"- {_joined(self.place, self.removed.title())}" + (f" with {accounts} accounts" if accounts else "")
        else:
            node = self.path[-1]
            setting = _declared(node.type, self.table, self.name)
            where = ".".join(part for part in (self.table, self.name) if part)
            hidden = setting is not None and setting.secret
            sign = "~" if setting is not None else "+" if self.old is None else "-" if self.new is None else "~"
            old, new = (_shown(text, setting, hidden, node) for text in (self.old, self.new))
            yield f"{sign} {_joined(self.place, where)}: {old} -> {new}"


def _joined(*parts: str) -> str:
    return ", ".join(part for part in parts if part)


def _declared(node_type: NodeType, table: str, name: str) -> Setting | None:
    return node_type.field(name) if not table else node_type.tables[table].setting(name)


def _shown(text: str | None, setting: Setting | None, hidden: bool, node: Node) -> str:
    if hidden and text is not None:
        return SECRET
    if text is None:
        if setting is None:
            return "(nothing)"
        if setting.inherits:
            return "(inherited)"
        text = node.default(setting)
        return "(none)" if setting.secret else f"{text or '(empty)'} (default)"
    line = text.replace("\r", "").replace("\n", "\\n")
    return (line if len(line) <= MAX_SHOWN else f"{line[:MAX_SHOWN]}... ({len(text)} characters)") or "(empty)"


def _content(node: Node, indent: str) -> Iterator[str]:
    for name, text in node.fields.items():
        setting = node.type.field(name)
        yield f"{indent}{name} = {_shown(text, setting, setting is not None and setting.secret, node)}"
    for table, values in node.tables.items():
        for name, text in values.items():
            setting = node.type.tables[table].setting(name)
            yield f"{indent}{table}.{name} = {_shown(text, setting, setting is not None and setting.secret, node)}"
    for siblings in node.children.values():
        for child in siblings.values():
            yield f"{indent}{child.title()}"
            yield from _content(child, f"{indent}  ")


def compare(present: Node, wanted: Node, complete: Collection[str]) -> list[Difference]:
    """Differences between the tree of a server (read with its secrets) and that of a file."""
    return [one for one in _all(present, wanted, complete) if one.new != SECRET or not one.is_secret]


def untold_secrets(present: Node, wanted: Node, complete: Collection[str]) -> list[str]:
    """Secrets that the file marks as not told and that the server does not have either, in words."""
    found = (one for one in _all(present, wanted, complete) if one.new == SECRET and one.is_secret)
    return [_joined(one.place, ".".join(part for part in (one.table, one.name) if part)) for one in found]


def _all(present: Node, wanted: Node, complete: Collection[str]) -> list[Difference]:
    result: list[Difference] = []
    for name, table in present.type.tables.items():
        result.extend(_table((present,), wanted, name, table, section_of(name) in complete))
    for name in present.type.children:
        result.extend(_children((present,), wanted, name, section_of(name) in complete, complete))
    return result


def _children(
    path: tuple[Node, ...], wanted: Node, name: str, whole: bool, complete: Collection[str]
) -> Iterator[Difference]:
    if name == "accounts":
        whole = whole and "accounts" in complete
    old, new = path[-1].children.get(name, {}), wanted.children.get(name, {})
    if whole:
        for identity, node in old.items():
            if identity not in new:
                yield Difference(path, name, removed=node)
    for identity, node in new.items():
        present = old.get(identity)
        if present is None:
            yield Difference(path, name, added=node)
            continue
        here = (*path, present)
        yield from _values(here, "", present.fields, node, whole)
        for table_name, table in present.type.tables.items():
            yield from _table(here, node, table_name, table, whole)
        for child in present.type.children:
            yield from _children(here, node, child, whole, complete)


def _table(path: tuple[Node, ...], wanted: Node, name: str, table: Table, whole: bool) -> Iterator[Difference]:
    yield from _values(path, name, path[-1].tables.get(name, {}), wanted, whole)


def _values(
    path: tuple[Node, ...], table: str, old: dict[str, str], wanted: Node, whole: bool
) -> Iterator[Difference]:
    node_type = path[-1].type
    new = wanted.tables.get(table, {}) if table else wanted.fields
    for name in dict.fromkeys((*new, *old)):
        before, after = old.get(name), new.get(name)
        setting = _declared(node_type, table, name)
        if after is None and not whole:
            continue
        if setting is not None and setting.secret and after == SECRET and before is not None:
            continue
        if setting is not None and not setting.inherits and after is not None and after == path[-1].default(setting):
            after = None
        if before != after:
            line = wanted.lines.get(f"{table}.{name}" if table else name, wanted.lines.get("", 0))
            yield Difference(path, table=table, name=name, old=before, new=after, line=line)
