"""From what was written to what can be evaluated: names, arguments and extensions checked (RFC 5228 sections 2.6 to 2.10).

Invariants: a script that passes cannot fail for its form when it runs; ``require`` stands first and names only what there
is; a word of an extension is unknown until the extension is required.  Behind a test ``ihave`` (RFC 5463) what an unknown
extension brings is not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from mailstead.sieve.grammar import SieveError, Strings, Syntax, Tag, parse
from mailstead.sieve.language import ALWAYS, COMMANDS, EXTENSIONS, NUMBER, STRING, STRINGS, TESTS, Spec

_RELATIONS = frozenset(("gt", "ge", "lt", "le", "eq", "ne"))
_COMPARATORS = frozenset(("i;octet", "i;ascii-casemap", "i;ascii-numeric"))
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*").fullmatch
_ZONE = re.compile(r"[+-][0-9]{4}").fullmatch
_ADDRESS_FIELDS = frozenset((
    "from", "to", "cc", "bcc", "sender", "resent-from", "resent-to", "resent-cc", "resent-bcc", "resent-sender", "reply-to",
    "mail-reply-to", "mail-followup-to", "return-path", "delivered-to", "x-original-to", "x-envelope-to", "errors-to",
    "disposition-notification-to", "list-post",
))  # fmt: skip
DATE_PARTS = frozenset(
    ("year", "month", "day", "date", "julian", "hour", "minute", "second", "time", "iso8601", "std11", "zone", "weekday")
)

Value = tuple[str, ...] | int


@dataclass(slots=True)
class Node:
    """A checked command or test: ``tags`` by their group, with the value that followed."""

    name: str
    line: int
    tags: dict[str, tuple[str, Value | None]] = field(default_factory=dict)
    arguments: list[Value] = field(default_factory=list)
    tests: list[Node] = field(default_factory=list)
    block: list[Node] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Script:
    """A checked script."""

    commands: tuple[Node, ...]
    extensions: frozenset[str]


class _Checker:
    def __init__(self) -> None:
        self.extensions: set[str] = set(ALWAYS)
        self._lenient = 0

    # -- commands -------------------------------------------------------------------------------------------------

    def block(self, commands: Sequence[Syntax], *, top: bool = False) -> list[Node]:
        out: list[Node] = []
        may_require = top
        before = ""
        for command in commands:
            if command.name == "require":
                if not may_require:
                    raise SieveError(command.line, "require stands before everything else")
                self._require(command)
                continue
            may_require = False
            if command.name in ("elsif", "else") and before not in ("if", "elsif"):
                raise SieveError(command.line, f"{command.name} without an if")
            node = self._command(command)
            before = command.name
            out.append(node)
        return out

    def _require(self, command: Syntax) -> None:
        node = self._node(command, COMMANDS["require"])
        names = node.arguments[0]
        assert isinstance(names, tuple)
        for name in names:
            if name not in EXTENSIONS and name not in ALWAYS:
                raise SieveError(command.line, f"there is no extension {name[:60]!r}")
            self.extensions.add(name)

    def _command(self, command: Syntax) -> Node:
        spec = COMMANDS.get(command.name)
        if spec is None or not self._known(spec.extension):
            if self._lenient:
                return Node("stop", command.line)
            raise SieveError(command.line, self._unknown("command", command.name, spec))
        lenient = command.name in ("if", "elsif") and _asks(command.tests)
        self._lenient += lenient
        try:
            node = self._node(command, spec)
            if spec.block:
                if command.block is None:
                    raise SieveError(command.line, f"{command.name} needs a block")
                node.block = self.block(command.block)
            elif command.block is not None:
                raise SieveError(command.line, f"{command.name} takes no block")
        finally:
            self._lenient -= lenient
        return node

    def _test(self, test: Syntax) -> Node:
        spec = TESTS.get(test.name)
        if spec is None or not self._known(spec.extension):
            if self._lenient:
                return Node("false", test.line)
            raise SieveError(test.line, self._unknown("test", test.name, spec))
        node = self._node(test, spec)
        if test.name == "ihave":
            names = node.arguments[0]
            assert isinstance(names, tuple)
            if all(name in EXTENSIONS or name in ALWAYS for name in names):
                self.extensions.update(names)
        return node

    def _known(self, extension: str | None) -> bool:
        return extension is None or extension in self.extensions

    @staticmethod
    def _unknown(kind: str, name: str, spec: Spec | None) -> str:
        if spec is not None and spec.extension is not None:
            return f"{name} needs require {spec.extension!r}"
        return f"there is no {kind} {name[:60]!r}"

    # -- arguments ------------------------------------------------------------------------------------------------

    def _node(self, syntax: Syntax, spec: Spec) -> Node:
        node = Node(syntax.name, syntax.line)
        arguments = list(syntax.arguments)
        while arguments and isinstance(arguments[0], Tag):
            tag = arguments.pop(0)
            assert isinstance(tag, Tag)
            found = spec.tags.get(tag.name)
            if found is None or not self._known(found.extension):
                raise SieveError(tag.line, f"{syntax.name} takes no :{tag.name}")
            if found.group in node.tags:
                raise SieveError(tag.line, f":{tag.name} and :{node.tags[found.group][0]} exclude each other")
            value = None
            if found.value is not None:
                value = self._value(arguments.pop(0) if arguments else None, found.value, tag.line, f":{tag.name}")
            node.tags[found.group] = tag.name, value
        if any(isinstance(argument, Tag) for argument in arguments):
            raise SieveError(syntax.line, f"tags of {syntax.name} stand before its other arguments")
        types = spec.positional
        missing = len(types) - len(arguments)
        if 0 < missing <= spec.optional:
            types = types[missing:]
        if len(arguments) != len(types):
            raise SieveError(syntax.line, f"{syntax.name} takes {len(types)} arguments, not {len(arguments)}")
        for argument, kind in zip(arguments, types, strict=True):
            node.arguments.append(self._value(argument, kind, syntax.line, syntax.name))
        count = len(syntax.tests)
        if spec.tests >= 0 and (count != spec.tests or syntax.grouped):
            raise SieveError(syntax.line, f"{syntax.name} takes {spec.tests or 'no'} test{'s' if spec.tests > 1 else ''}")
        if spec.tests < 0 and not syntax.grouped:
            raise SieveError(syntax.line, f"{syntax.name} takes a list of tests in parentheses")
        node.tests = [self._test(test) for test in syntax.tests]
        self._meaning(node)
        return node

    def _value(self, argument: object, kind: str, line: int, of: str) -> Value:
        if kind == NUMBER and isinstance(argument, int):
            return argument
        if isinstance(argument, Strings) and kind in (STRING, STRINGS) and not (kind == STRING and argument.many):
            return argument.values
        raise SieveError(line, f"{of} needs {kind}")

    def _meaning(self, node: Node) -> None:
        """What the types do not say."""
        line = node.line
        kind, value = node.tags.get("match", ("is", None))
        if isinstance(value, tuple) and value[0].lower() not in _RELATIONS:
            raise SieveError(line, f":{kind} needs one of gt, ge, lt, le, eq, ne")
        _, comparator = node.tags.get("comparator", ("", None))
        if isinstance(comparator, tuple):
            name = comparator[0]
            if name not in _COMPARATORS or f"comparator-{name}" not in self.extensions:
                raise SieveError(line, f"the comparator {name[:60]!r} is not there, or not required")
            if name == "i;ascii-numeric" and kind in ("contains", "matches"):
                raise SieveError(line, "i;ascii-numeric compares whole numbers only")
        if "last" in node.tags and "index" not in node.tags:
            raise SieveError(line, ":last needs :index")
        if node.name == "size" and "relation" not in node.tags:
            raise SieveError(line, "size needs :over or :under")
        if node.name == "set" and not _VARIABLE(_one(node.arguments[0])):
            raise SieveError(line, f"{_one(node.arguments[0])[:60]!r} is no name for a variable")
        if node.name == "address":
            wrong = [name for name in _many(node.arguments[0]) if "${" not in name and name.lower() not in _ADDRESS_FIELDS]
            if wrong:
                raise SieveError(line, f"{wrong[0][:60]!r} has no addresses that can be tested")
        if node.name == "envelope":
            wrong = [name for name in _many(node.arguments[0]) if name.lower() not in ("from", "to")]
            if wrong:
                raise SieveError(line, f"the envelope has no {wrong[0][:60]!r}")
        if node.name in ("date", "currentdate"):
            part = _one(node.arguments[1 if node.name == "date" else 0]).lower()
            if part not in DATE_PARTS:
                raise SieveError(line, f"a date has no {part[:60]!r}")
            _, zone = node.tags.get("zone", ("", None))
            if isinstance(zone, tuple) and not _ZONE(zone[0]):
                raise SieveError(line, "a zone is written like +0200")
        named = node.name in ("setflag", "addflag", "removeflag", "hasflag") and len(node.arguments) == 2
        if named and "variables" not in self.extensions:
            raise SieveError(line, "a variable for flags needs require 'variables'")


def _asks(tests: Sequence[Syntax]) -> bool:
    """Whether ihave decides over a block: alone, or within allof (RFC 5463 section 4)."""
    return any(test.name == "ihave" or (test.name == "allof" and _asks(test.tests)) for test in tests)


def _one(value: Value) -> str:
    assert isinstance(value, tuple)
    return value[0]


def _many(value: Value) -> tuple[str, ...]:
    assert isinstance(value, tuple)
    return value


def check(script: str) -> Script:
    """Parse and check a script. Raises SieveError."""
    checker = _Checker()
    commands = checker.block(parse(script), top=True)
    return Script(tuple(commands), frozenset(checker.extensions))
