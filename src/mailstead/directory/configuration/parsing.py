"""A TOML text as a tree: everything is checked before anything is done, and each mistake told with its line.

Invariants: unknown names are refused; values have passed their declarations; a text is at most MAX_FILE octets, and at most
MAX_MISTAKES mistakes are told. Nothing here looks at a database.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import Any

from mailstead.directory.configuration.schema import ROOT, SECRET, SECTIONS, Key, Node, NodeType, Table
from mailstead.directory.configuration.toml_lines import Path, line_numbers
from mailstead.directory.model import DirectoryError
from mailstead.settings.declaration import InvalidValueError, Kind, Setting
from mailstead.settings.edits import MAX_CONTENT
from mailstead.settings.suggestion import meant

MAX_FILE = 256 * 1024 * 1024
MAX_MISTAKES = 50
FORMAT = 1


class ConfigurationError(Exception):
    """The text is no configuration; `mistakes` has (line, what) of each, line 0 where there is none."""

    def __init__(self, mistakes: list[tuple[int, str]], more: int = 0) -> None:
        self.mistakes = mistakes
        lines = [f"line {line}: {what}" if line else what for line, what in mistakes]
        super().__init__("\n".join([*lines, f"... and {more} more"] if more else lines))


@dataclass(frozen=True, slots=True)
class Parsed:
    """A tree, and the sections it is complete in."""

    root: Node
    complete: frozenset[str]


def parse_configuration(octets: bytes) -> Parsed:
    """The tree that a file describes. Raises ConfigurationError."""
    if len(octets) > MAX_FILE:
        raise ConfigurationError([(0, f"a configuration has at most {MAX_FILE} octets")])
    try:
        text = octets.decode()
    except UnicodeDecodeError as error:
        raise ConfigurationError([(octets.count(b"\n", 0, error.start) + 1, "not UTF-8")]) from error
    try:
        values = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigurationError([(0, f"not TOML: {error or 'nested too deeply'}")]) from error
    parser = _Parser(line_numbers(text.replace("\r\n", "\n")))
    complete = parser.head(values)
    root = Node(ROOT)
    parser.node(root, values, ())
    if parser.mistakes:
        raise ConfigurationError(sorted(parser.mistakes[:MAX_MISTAKES]), max(0, len(parser.mistakes) - MAX_MISTAKES))
    return Parsed(root, complete)


class _Parser:
    def __init__(self, lines: dict[Path, int]) -> None:
        self._lines = lines
        self.mistakes: list[tuple[int, str]] = []

    def _line(self, path: Path) -> int:
        while path:
            if path in self._lines:
                return self._lines[path]
            path = path[:-1]
        return 0

    def _wrong(self, path: Path, what: str) -> None:
        self.mistakes.append((self._line(path), what))

    def head(self, values: dict[str, Any]) -> frozenset[str]:
        """Take `format` and `complete` off."""
        form = values.pop("format", FORMAT)
        if form != FORMAT or isinstance(form, bool):
            self._wrong(("format",), f"format: this release reads format {FORMAT}, not {form!r:.40}")
        complete = values.pop("complete", [])
        if not isinstance(complete, list) or not all(isinstance(name, str) and name in SECTIONS for name in complete):
            self._wrong(("complete",), f"complete: expected a list of any of {', '.join(SECTIONS)}")
            return frozenset()
        return frozenset(complete)

    # -- nodes ----------------------------------------------------------------------------------------------

    def node(self, node: Node, values: dict[str, Any], path: Path, prefix: str = "") -> None:
        """Fill a node from a TOML table; `prefix` is the part of dotted names that was gone down already."""
        node_type = node.type
        keys = {setting.name for setting in node_type.keys} if not prefix else set()
        for name, value in values.items():
            full, here = f"{prefix}{name}", (*path, name)
            if name in keys:
                continue
            if full in node_type.tables:
                if self._is_table(value, here, full):
                    self._table(node, full, node_type.tables[full], value, here)
            elif full in node_type.children:
                self._children(node, full, value, here)
            elif any(known.startswith(f"{full}.") for known in (*node_type.tables, *node_type.children)):
                if self._is_table(value, here, full):
                    self.node(node, value, here, f"{full}.")
            elif not prefix and (setting := node_type.field(name)) is not None:
                self._value(node.fields, setting, value, here, node_type.name)
                node.lines[setting.name] = self._line(here)
            else:
                known_names = [*node_type.tables, *node_type.children, *(one.name for one in node_type.fields)]
                self._wrong(here, f"{node_type.name} has nothing named {full!r:.80}{meant(full, known_names)}")

    def _children(self, node: Node, name: str, value: object, path: Path) -> None:
        child_type = node.type.children[name]
        if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
            self._wrong(path, f"{name}: expected tables, written as [[...{name}]]")
            return
        for index, values in enumerate(value):
            here = (*path, index)
            key = self._node_key(child_type, values, here)
            if key is None:
                continue
            child = Node(child_type, key)
            child.lines[""] = self._line(here)
            if child_type.identity(key) in node.children.get(name, {}):
                self._wrong(here, f"{child.title()} is there twice")
                continue
            self.node(child, values, here)
            node.add(name, child)

    def _node_key(self, node_type: NodeType, values: dict[str, Any], path: Path) -> Key | None:
        key: list[str] = []
        for setting in node_type.keys:
            value = values.get(setting.name)
            if value is None:
                self._wrong(path, f"this {node_type.name} has no {setting.name}")
                return None
            text = self._parsed(setting, value, (*path, setting.name), node_type.name)
            if text is None:
                return None
            key.append(text)
        try:
            identity = node_type.identity(tuple(key))
        except (ValueError, DirectoryError) as error:
            self._wrong(path, f"{node_type.name}: {error}")
            return None
        return identity if "rule" in node_type.name else tuple(key)

    # -- values ---------------------------------------------------------------------------------------------

    def _is_table(self, value: object, path: Path, name: str) -> bool:
        if isinstance(value, dict):
            return True
        self._wrong(path, f"{name}: expected a table, written as [{name}]")
        return False

    def _table(self, node: Node, name: str, table: Table, values: dict[str, Any], path: Path) -> None:
        found = node.tables.setdefault(name, {})
        for key, value in values.items():
            here = (*path, key)
            node.lines[f"{name}.{key}"] = self._line(here)
            if table.context is None:
                self._free(found, key, value, here, name)
                continue
            setting = table.setting(key)
            if setting is None:
                like = meant(key, [one.name for one in table.context.settings])
                self._wrong(here, f"{name} has no setting {key!r:.80}{like}")
                continue
            node.lines[f"{name}.{setting.name}"] = self._line(here)
            self._value(found, setting, value, here, name)

    def _free(self, found: dict[str, str], key: str, value: object, path: Path, name: str) -> None:
        if not isinstance(value, str):
            self._wrong(path, f"{name}.{key}: expected a text")
        elif len(value) > MAX_CONTENT or "\x00" in value or not key or len(key) > 320:
            self._wrong(path, f"{name}.{key:.80}: a text has at most {MAX_CONTENT} characters, without NUL")
        else:
            found[key] = value

    def _value(self, found: dict[str, str], setting: Setting, value: object, path: Path, where: str) -> None:
        text = self._parsed(setting, value, path, where)
        if text is not None:
            found[setting.name] = text

    def _parsed(self, setting: Setting, value: object, path: Path, where: str) -> str | None:
        text = _as_text(setting, value)
        if text is None:
            self._wrong(path, f"{where}: {setting.name}: expected {_shape(setting)}")
            return None
        if setting.secret and text == SECRET:
            return text
        try:
            return setting.render(setting.parse(text))
        except InvalidValueError as error:
            self._wrong(path, f"{where}: {error}")
            return None


def _as_text(setting: Setting, value: object) -> str | None:
    """What a user would write for a TOML value; None where it has the wrong type."""
    if isinstance(value, bool):
        return ("yes" if value else "no") if setting.kind is Kind.BOOL else None
    if isinstance(value, int):
        return str(value) if setting.kind is Kind.INT else None
    if isinstance(value, str):
        return value if setting.kind is not Kind.BOOL else None
    if isinstance(value, list) and setting.kind in (Kind.LIST, Kind.CHOICE_SET):
        if not all(isinstance(word, str) for word in value):
            return None
        if setting.kind is Kind.LIST:
            return setting.render(tuple(value))
        return "(" + " ".join(value) + ")"
    return None


def _shape(setting: Setting) -> str:
    match setting.kind:
        case Kind.BOOL:
            return "true or false"
        case Kind.INT:
            return setting.allowed()
        case Kind.LIST | Kind.CHOICE_SET:
            return "a list of texts"
        case _:
            return "a text"
