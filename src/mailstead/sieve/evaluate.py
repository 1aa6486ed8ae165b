"""Running a script over a message (RFC 5228 and the extensions named in language.py).

Invariants: a run ends after at most ``MAX_STEPS`` tests and commands and about ``MAX_SECONDS`` of a processor, and gives at
most ``MAX_ACTIONS`` actions, each once; a variable has at most ``MAX_VALUE`` characters, the strings of a list together
``MAX_EXPANDED``, and none a lone surrogate; without any action that cancels it the message is kept; whatever goes wrong
is a ``RuntimeFailure``, upon which the caller keeps the message (RFC 5228 section 2.10.6).
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence

from mailstead.sieve.actions import Action, FileInto, Keep, Mail, Redirect, Reject
from mailstead.sieve.check import Node, Script, Value
from mailstead.sieve.dates import date_part
from mailstead.sieve.language import ALWAYS, EXTENSIONS
from mailstead.sieve.matching import matches, ordering, related

MAX_STEPS = 20_000
MAX_ACTIONS = 32
MAX_REDIRECTS = 5
MAX_SECONDS = 3.0
MAX_VALUE = 4_000
MAX_STRING = 4 * MAX_VALUE
MAX_EXPANDED = 1_000_000
MAX_VARIABLES = 128
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*|[0-9]{1,2})\}")
_ENCODED = re.compile(r"\$\{(hex|unicode):\s*([0-9A-Fa-f]+(?:\s+[0-9A-Fa-f]+)*)\s*\}", re.I)
#: A keyword (an atom of RFC 9051) or a system flag: anything else would break the responses that name it.
_FLAG = re.compile(r"\\?[!#$&'+,\-./0-9:;<=>?@A-Z\[^_`a-z|}~]{1,64}").fullmatch
_ADDRESS = re.compile(r"[^\s@<>,;]+@[A-Za-z0-9.\-\[\]:\u0080-\U0010ffff]+").fullmatch


class RuntimeFailure(Exception):
    """The script cannot go on."""


class _Stop(Exception):
    """``stop``."""


class Run:
    """One run; use ``evaluate``."""

    def __init__(self, script: Script, mail: Mail, now: float) -> None:
        self._script = script
        self._mail = mail
        self._now = now
        self._steps = 0
        self._until = time.thread_time() + MAX_SECONDS
        self._variables: dict[str, str] = {}
        self._matched: list[str] = []
        self._flags: tuple[str, ...] = ()
        self.actions: list[Action] = []
        self.implicit_keep = True
        self._expands = "variables" in script.extensions
        self._decodes = "encoded-character" in script.extensions

    # -- commands -------------------------------------------------------------------------------------------------

    def block(self, commands: Iterable[Node]) -> None:
        taken = False
        for node in commands:
            self._step(node)
            name = node.name
            if name == "if" or (name == "elsif" and not taken):
                taken = self._test(node.tests[0])
                if taken:
                    self.block(node.block)
            elif name == "elsif":
                pass
            elif name == "else":
                if not taken:
                    self.block(node.block)
            else:
                self._command(node)

    def _step(self, node: Node) -> None:
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise RuntimeFailure(f"line {node.line}: the script runs for too long")
        self._tick()

    def _tick(self) -> None:
        """A step may cost much where texts and patterns are long, so that counting them is not enough."""
        if time.thread_time() > self._until:
            raise RuntimeFailure("the script takes too much time")

    def _command(self, node: Node) -> None:
        match node.name:
            case "stop":
                raise _Stop
            case "keep":
                self._do(node, Keep(self._given_flags(node)))
                self.implicit_keep = False
            case "discard":
                self.implicit_keep = False
            case "fileinto":
                folder = self._text(node.arguments[0])
                self._do(node, FileInto(folder, self._given_flags(node), "create" in node.tags))
                self._cancel(node)
            case "redirect":
                address = self._text(node.arguments[0]).strip()
                if not _ADDRESS(address) or len(address) > 320:
                    raise RuntimeFailure(f"line {node.line}: {address[:80]!r} is not an address")
                if sum(isinstance(one, Redirect) for one in self.actions) >= MAX_REDIRECTS:
                    raise RuntimeFailure(f"line {node.line}: more than {MAX_REDIRECTS} redirections")
                self._do(node, Redirect(address))
                self._cancel(node)
            case "reject" | "ereject":
                self._do(node, Reject(self._text(node.arguments[0])))
                self.implicit_keep = False
            case "setflag" | "addflag" | "removeflag":
                self._change_flags(node)
            case "set":
                self._set(node)
            case "error":
                raise RuntimeFailure(f"line {node.line}: {self._text(node.arguments[0])[:200]}")
            case _:
                raise RuntimeFailure(f"line {node.line}: {node.name} cannot be run")

    def _cancel(self, node: Node) -> None:
        if "copy" not in node.tags:
            self.implicit_keep = False

    def _do(self, node: Node, action: Action) -> None:
        if action in self.actions:
            return
        kinds = {type(one) for one in self.actions}
        if (isinstance(action, Reject) and kinds) or Reject in kinds:
            raise RuntimeFailure(f"line {node.line}: reject goes with no other action")
        if len(self.actions) >= MAX_ACTIONS:
            raise RuntimeFailure(f"line {node.line}: more than {MAX_ACTIONS} actions")
        self.actions.append(action)

    # -- flags and variables --------------------------------------------------------------------------------------

    def _given_flags(self, node: Node) -> tuple[str, ...] | None:
        if "flags" in node.tags:
            return _flag_list(self._texts(node.tags["flags"][1]))
        return self._flags or None

    def _change_flags(self, node: Node) -> None:
        variable = self._text(node.arguments[0]).lower() if len(node.arguments) == 2 else ""
        before = _flag_list([self._variables.get(variable, "")]) if variable else self._flags
        given = _flag_list(self._texts(node.arguments[-1]))
        if node.name == "setflag":
            after = given
        elif node.name == "addflag":
            after = _flag_list([*before, *given])
        else:
            gone = {flag.lower() for flag in given}
            after = tuple(flag for flag in before if flag.lower() not in gone)
        if variable:
            self._assign(variable, " ".join(after))
        else:
            self._flags = after

    def _set(self, node: Node) -> None:
        value = self._text(node.arguments[1])
        modifiers = {name for name, _ in node.tags.values()}
        # RFC 5229 section 4.1: those of higher precedence first.
        if "lower" in modifiers:
            value = value.lower()
        if "upper" in modifiers:
            value = value.upper()
        if "lowerfirst" in modifiers:
            value = value[:1].lower() + value[1:]
        if "upperfirst" in modifiers:
            value = value[:1].upper() + value[1:]
        if "quotewildcard" in modifiers:
            value = re.sub(r"([*?\\])", r"\\\1", value)
        if "length" in modifiers:
            value = str(len(value))
        self._assign(self._text(node.arguments[0]).lower(), value)

    def _assign(self, name: str, value: str) -> None:
        if name not in self._variables and len(self._variables) >= MAX_VARIABLES:
            raise RuntimeFailure(f"more than {MAX_VARIABLES} variables")
        self._variables[name] = value[:MAX_VALUE]

    def _text(self, value: Value) -> str:
        return self._texts(value)[0]

    def _texts(self, value: Value | None) -> list[str]:
        assert isinstance(value, tuple)
        if not self._expands and not self._decodes:
            return list(value)
        out, size = [], 0
        for text in value:
            if "${" in text:
                text = self._expand(text)
                size += len(text)
                if size > MAX_EXPANDED:
                    raise RuntimeFailure(f"variables fill more than {MAX_EXPANDED} characters")
            out.append(text)
        return out

    def _expand(self, text: str) -> str:
        if self._decodes:
            # Octets of one character may be written apart, so that it is known only now what is none.
            text = _ENCODED.sub(_decoded, text).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        if not self._expands:
            return text
        out, size, at = [], 0, 0
        for found in _VARIABLE.finditer(text):
            out += [text[at : found.start()], self._variable(found)]
            size += len(out[-2]) + len(out[-1])
            at = found.end()
            if size > MAX_STRING:
                break
        return "".join([*out, text[at : at + MAX_STRING]])[:MAX_STRING]

    def _variable(self, found: re.Match[str]) -> str:
        name = found[1]
        if name[0].isdigit():
            number = int(name)
            return self._matched[number] if number < len(self._matched) else ""
        return self._variables.get(name.lower(), "")

    # -- tests ----------------------------------------------------------------------------------------------------

    def _test(self, node: Node) -> bool:
        self._step(node)
        mail = self._mail
        match node.name:
            case "true":
                return True
            case "false":
                return False
            case "not":
                return not self._test(node.tests[0])
            case "allof":
                return all(self._test(test) for test in node.tests)
            case "anyof":
                return any(self._test(test) for test in node.tests)
            case "exists":
                return all(mail.header(name) for name in self._texts(node.arguments[0]))
            case "size":
                limit = node.arguments[0]
                assert isinstance(limit, int)
                return mail.size > limit if node.tags["relation"][0] == "over" else mail.size < limit
            case "header":
                values = [mail.header(name) for name in self._texts(node.arguments[0])]
                return self._match(node, [text for found in values for text in self._indexed(node, found)])
            case "address":
                found = [self._indexed(node, mail.addresses(name)) for name in self._texts(node.arguments[0])]
                return self._match(node, self._parts(node, [address for each in found for address in each]))
            case "envelope":
                names = self._texts(node.arguments[0])
                return self._match(node, self._parts(node, [text for name in names for text in mail.envelope(name.lower())]))
            case "body":
                name, types = node.tags.get("transform", ("text", None))
                return self._match(node, mail.body(name, self._texts(types) if types is not None else ()), captures=False)
            case "string":
                return self._match(node, self._texts(node.arguments[0]))
            case "hasflag":
                flags = self._flags
                if len(node.arguments) == 2:
                    flags = _flag_list([self._variables.get(name.lower(), "") for name in self._texts(node.arguments[0])])
                return self._match(node, flags)
            case "date" | "currentdate":
                return self._match(node, self._date(node))
            case "mailboxexists":
                return all(mail.mailbox_exists(name) for name in self._texts(node.arguments[0]))
            case "ihave":
                return all(name in EXTENSIONS or name in ALWAYS for name in self._texts(node.arguments[0]))
        raise RuntimeFailure(f"line {node.line}: {node.name} cannot be tested")

    @staticmethod
    def _indexed(node: Node, values: Sequence[str]) -> Sequence[str]:
        """One of several fields (RFC 5260 section 6)."""
        if "index" not in node.tags:
            return values
        number = node.tags["index"][1]
        assert isinstance(number, int)
        if not 1 <= number <= len(values):
            return ()
        return (values[-number] if "last" in node.tags else values[number - 1],)

    @staticmethod
    def _parts(node: Node, addresses: Iterable[str]) -> list[str]:
        part = node.tags.get("part", ("all", None))[0]
        if part == "all":
            return list(addresses)
        out = []
        for address in addresses:
            local, at, domain = address.rpartition("@")
            if not at:
                local, domain = domain, ""
            user, plus, detail = local.partition("+")
            if part == "localpart":
                out.append(local)
            elif part == "domain":
                out.append(domain)
            elif part == "user":
                out.append(user)
            elif plus:
                out.append(detail)
        return out

    def _date(self, node: Node) -> list[str]:
        part = self._text(node.arguments[1 if node.name == "date" else 0]).lower()
        name, zone = node.tags.get("zone", ("", None))
        wanted = zone[0] if isinstance(zone, tuple) else ""
        if node.name == "currentdate":
            found = date_part(time.strftime("%a, %d %b %Y %H:%M:%S +0000", time.gmtime(self._now)), part, wanted, False)
            return [found] if found is not None else []
        values = self._indexed(node, self._mail.header(self._text(node.arguments[0])))
        dates = [date_part(text.rpartition(";")[2], part, wanted, name == "originalzone") for text in values[:1]]
        return [found for found in dates if found is not None]

    def _match(self, node: Node, values: Sequence[str], *, captures: bool = True) -> bool:
        kind, relation = node.tags.get("match", ("is", None))
        comparator = "i;ascii-casemap"
        if "comparator" in node.tags:
            named = node.tags["comparator"][1]
            assert isinstance(named, tuple)
            comparator = named[0]
        wanted = relation[0] if isinstance(relation, tuple) else ""
        keys = self._texts(node.arguments[-1])
        if kind == "count":
            present = str(sum(1 for value in values if value) if node.name == "string" else len(values))
            return any(related(ordering(present, key, comparator), wanted) for key in keys)
        for text in values:
            for key in keys:
                self._tick()
                found = matches(kind, wanted, comparator, text, key, self._tick)
                if found is not None:
                    if kind == "matches" and self._expands and captures:
                        self._matched = [part[:MAX_VALUE] for part in (text, *found)][:100]
                    return True
        return False


def _flag_list(texts: Iterable[str]) -> tuple[str, ...]:
    """Flags named in texts, blanks between them, each once (RFC 5232 section 2)."""
    found: dict[str, str] = {}
    for text in texts:
        for flag in text.split():
            if _FLAG(flag) and flag.lower() != "\\recent":
                found.setdefault(flag.lower(), flag)
    return tuple(found.values())[:64]


def _decoded(found: re.Match[str]) -> str:
    """RFC 5228 section 2.4.2.4; what makes no sense stays as it is."""
    try:
        numbers = [int(part, 16) for part in found[2].split()]
        if found[1].lower() == "hex":
            return bytes(numbers).decode("utf-8", "surrogateescape")
        return "".join(map(chr, numbers)) if not any(0xD800 <= number < 0xE000 for number in numbers) else found[0]
    except (ValueError, OverflowError):
        return found[0]


def evaluate(script: Script, mail: Mail, now: float) -> list[Action]:
    """What is to be done with a message; an empty list discards it. Raises RuntimeFailure."""
    run = Run(script, mail, now)
    try:
        run.block(script.commands)
    except _Stop:
        pass
    if run.implicit_keep:
        keep = Keep(run._flags or None)
        if not any(isinstance(action, Keep) for action in run.actions):
            run.actions.append(keep)
    return run.actions
