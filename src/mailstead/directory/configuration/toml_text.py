"""A tree as readable TOML 1.0: one table for each place, with the help of each setting above it.

Invariants: the order is that of the schema and of keys, so equal trees give equal texts; what is written, TOML's own
parser reads back unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from mailstead.directory.configuration.schema import SECTIONS, Node, Table, section_of
from mailstead.settings.declaration import Kind, Setting

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r"}

HEAD = """\
# Configuration of a Mailstead server. `mailstead config import` applies it, after showing what it would change.
# What is not written here has its default. "(secret)" stands for a secret that is not told, and keeps the present one.
# complete: in these sections, what is not in the file is reset or removed. Without a section's name in it, the file only
# adds and changes there."""


def as_toml(root: Node, complete: Sequence[str], *, everything: bool = False) -> str:
    """The whole file. With `everything` the settings of services that have their default stand there as comments."""
    sections = [name for name in SECTIONS if name in complete]
    lines = [HEAD, "format = 1", f"complete = {_array(sections)}"]
    written: set[str] = set()
    for name, table in root.type.tables.items():
        values = root.tables.get(name, {})
        if values or (everything and table.context is not None and table.scope in ("service", "defaults")):
            written.add(section_of(name))
            lines.extend(_table(name, table, values, everything=everything))
    for child in root.type.children:
        lines.extend(_children(root, child, ""))
    return "\n".join(lines) + "\n"


def _children(node: Node, name: str, path: str) -> Iterator[str]:
    for child in node.children.get(name, {}).values():
        full = f"{path}.{name}" if path else name
        yield from ("", f"[[{full}]]")
        for setting, text in zip(child.type.keys, child.key, strict=True):
            yield f"{setting.name} = {_value(setting, text)}"
        for setting in child.type.fields:
            if setting.name in child.fields:
                yield from _entry(setting, child.fields[setting.name])
        for table_name, table in child.type.tables.items():
            if table_name in child.tables:
                yield from _table(f"{full}.{table_name}", table, child.tables[table_name], everything=False)
        for below in child.type.children:
            yield from _children(child, below, full)


def _table(path: str, table: Table, values: Mapping[str, str], *, everything: bool) -> Iterator[str]:
    yield from ("", f"[{path}]")
    if table.context is None:
        for name, text in sorted(values.items()):
            yield f"{_key(name)} = {_text(text)}"
        return
    for setting in table.context.settings:
        if setting.name in values:
            yield from _entry(setting, values[setting.name])
        elif everything:
            shown = _value(setting, setting.render(setting.default))
            yield from _comment(setting)
            yield from (f"# {line}" for line in f"{setting.name} = {shown}".splitlines())


def _entry(setting: Setting, text: str) -> Iterator[str]:
    yield from _comment(setting)
    yield f"{setting.name} = {_value(setting, text)}"


def _comment(setting: Setting) -> Iterator[str]:
    unit = f" ({setting.unit})" if setting.unit and setting.unit not in setting.help else ""
    yield f"# {setting.help}{unit}"


def _value(setting: Setting, text: str) -> str:
    if setting.secret:
        return _string(text)
    if setting.kind is Kind.BOOL:
        return "true" if text == "yes" else "false"
    if setting.kind is Kind.INT and text.isdigit():
        return text
    if setting.kind is Kind.LIST:
        value = setting.parse(text)
        return _array(value if isinstance(value, tuple) else ())
    if setting.kind is Kind.CHOICE_SET:
        chosen = setting.parse(text)
        return _array(word for word in setting.choices if isinstance(chosen, frozenset) and word in chosen)
    return _string(text)


def _array(words: Iterable[str]) -> str:
    found = [_string(word) for word in words]
    line = "[" + ", ".join(found) + "]"
    if len(line) <= 110:
        return line
    return "[\n" + "".join(f"    {word},\n" for word in found) + "]"


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _string(name)


def _text(text: str) -> str:
    """A text of several lines as such."""
    if "\n" not in text:
        return _string(text)
    body = "".join(_escaped(character) if character not in "\n\t" else character for character in text)
    return f'"""\n{body}"""'


def _string(text: str) -> str:
    return '"' + "".join(_escaped(character) for character in text) + '"'


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    code = ord(character)
    if code < 0x20 or code == 0x7F or 0xD800 <= code < 0xE000:
        return f"\\u{code:04x}" if not 0xD800 <= code < 0xE000 else "\\ufffd"
    return character
