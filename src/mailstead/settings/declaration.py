"""What a setting is: one declaration from which validation, storage, CLI, forms and the manual are made.

Invariants:
- `parse` accepts what `render` gives and refuses everything outside the declared range with a sentence that names
  the setting, the value and what is allowed.
- Names are spelled as the CLI shows them and unique, without regard to case, within a context.
- Parsed values are immutable: int, bool, str, frozenset of str, tuple of str.
- No value has a line break or NUL in it; texts of several lines are contents, not settings.
"""

from __future__ import annotations

import enum
import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mailstead.settings import written_forms
from mailstead.settings.database import SECRET_FIELDS

Value = int | bool | str | frozenset[str] | tuple[str, ...]

_TRUE = frozenset({"yes", "true", "on", "1"})
_FALSE = frozenset({"no", "false", "off", "0"})
_LIST_SPLIT = re.compile(r"[\s,]+")
_LIST_WORD = re.compile(r'[\s,]*(?:"((?:[^"\\]|\\.)*)"(?=[\s,]|$)|([^\s,"][^\s,]*))')
_NEEDS_QUOTES = re.compile(r'[\s,"\\()]|^$')
MAX_VALUE_LENGTH = 8192
"""CFG-01: longest value, in characters."""


class InvalidValueError(ValueError):
    """A value outside what the declaration allows, or a name that is not declared; the text is fit for the user."""


InvalidValue = InvalidValueError


class Kind(enum.Enum):
    """Type of a setting's value."""

    BOOL = "yes/no"
    INT = "number"
    TEXT = "text"
    SECRET = "secret"
    CHOICE = "choice"
    CHOICE_SET = "choice set"
    LIST = "list of words"
    ADDRESS = "IP address or empty"
    TIME = "a time of day, hh:mm or hh:mm:ss"
    DATE = "a date such as 20 Jun 2018, 2018-06-20 or Wed, 20 Jun 2018 02:15:34 +0300"
    EMAIL = "an e-mail address"
    URL = "a URL"
    HOST = "a host name or IP address"
    HOST_PORT = "host:port, IPv6 addresses in brackets"
    IP_PORT = "an IP address, with :port where it is not the usual one"
    ZONE = "a time zone such as Europe/Berlin"
    FILE_NAME = "a file name of letters, digits, blanks and . @ + - _, at most 64, and no dot or blank at its beginning"
    DIRECTORY = "a directory under the data directory, and none that the server keeps its own files in"
    CIPHERS = "a list of ciphers that OpenSSL knows"


_FORMS: Mapping[Kind, Callable[[str], str]] = {
    Kind.TIME: written_forms.time_of_day,
    Kind.DATE: written_forms.date,
    Kind.EMAIL: written_forms.email_address,
    Kind.HOST: written_forms.host,
    Kind.HOST_PORT: written_forms.host_port,
    Kind.IP_PORT: written_forms.ip_with_port,
    Kind.ZONE: written_forms.time_zone,
    Kind.FILE_NAME: written_forms.file_name,
    Kind.DIRECTORY: written_forms.own_directory,
    Kind.CIPHERS: written_forms.ciphers,
}


class Reload(enum.Enum):
    """When a change takes effect."""

    LIVE = "at once"
    NEW_SESSIONS = "for new connections"
    RESTART = "after a restart"


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting.

    `minimum`/`maximum` bound an INT, or the length of a TEXT, SECRET or a list; `or_zero` allows an INT to be 0, and a SECRET to be
    empty, besides; `choices` are the allowed words, of an INT those that may stand instead of the number, of a URL the schemes.
    `empty` is the word an empty set is shown as. A TEXT and the kinds with a grammar may be empty where their default is, or
    with `optional`. `permission` is what a change needs where it is not the context's. `names` says what a TEXT names that is the
    name of something else (see `references`).
    """

    name: str
    kind: Kind
    default: Value
    help: str
    unit: str = ""
    minimum: int = 0
    maximum: int = 4_294_967_295
    choices: tuple[str, ...] = ()
    inherits: bool = False
    since: str = "0.1"
    reload: Reload = Reload.LIVE
    empty: str = ""
    permission: str = ""
    optional: bool = False
    or_zero: bool = False
    names: str = ""

    @property
    def secret(self) -> bool:
        """True when the value must not be shown or written to the history."""
        return self.kind is Kind.SECRET or self.name in SECRET_FIELDS

    def parse(self, text: str) -> Value:
        """The typed value of what a user wrote. Raises InvalidValueError."""
        if len(text) > MAX_VALUE_LENGTH:
            raise InvalidValueError(f"{self.name}: a value has at most {MAX_VALUE_LENGTH} characters")
        if any(character in text for character in "\x00\r\n"):
            raise InvalidValueError(f"{self.name}: line breaks and NUL are not allowed")
        match self.kind:
            case Kind.BOOL:
                return self._parse_bool(text)
            case Kind.INT:
                return self._parse_int(text)
            case Kind.CHOICE:
                return self._word(text.strip())
            case Kind.CHOICE_SET:
                return self._parse_set(text)
            case Kind.LIST:
                return self._parse_list(text)
            case Kind.ADDRESS:
                return self._parse_address(text.strip())
            case Kind.TEXT | Kind.SECRET:
                return self._parse_text(text)
            case _:
                return self._parse_form(text.strip())

    def render(self, value: Value) -> str:
        """The text form that is stored and shown; `parse` gives the value back."""
        if isinstance(value, bool):
            return "yes" if value else "no"
        if isinstance(value, frozenset):
            if not value and self.empty:
                return self.empty
            return "(" + " ".join(word for word in self.choices if word in value) + ")"
        if isinstance(value, tuple):
            return "(" + " ".join(_quoted(word) if _NEEDS_QUOTES.search(word) else word for word in value) + ")"
        return str(value)

    def allowed(self) -> str:
        """What is allowed, for messages and the manual."""
        if self.kind is Kind.INT:
            unit = f" {self.unit}" if self.unit else ""
            words = "".join(f", or {word}" for word in self.choices)
            return f"a number from {self.bounds()}{unit}{words}"
        if self.kind is Kind.URL and self.choices:
            return f"a URL with {' or '.join(self.choices)}"
        if self.choices:
            words = ", ".join(word or '""' for word in self.choices)
            return ("any of " if self.kind is Kind.CHOICE_SET else "one of ") + words + (f", or {self.empty}" if self.empty else "")
        return str(self.kind.value)

    def bounds(self) -> str:
        """The range of an INT in words."""
        return f"{self.minimum} to {self.maximum}{', or 0,' if self.or_zero else ''}"

    def _refuse(self, text: str) -> InvalidValueError:
        shown = "the value" if self.secret else repr(text[:80])
        return InvalidValueError(f"{self.name}: {shown} is not allowed; expected {self.allowed()}")

    def _parse_bool(self, text: str) -> bool:
        word = text.strip().lower()
        if word in _TRUE:
            return True
        if word in _FALSE:
            return False
        raise self._refuse(text)

    def _parse_int(self, text: str) -> int | str:
        word = text.strip()
        for choice in self.choices:
            if choice.lower() == word.lower():
                return choice
        if not (word.isascii() and word.isdigit() and len(word) <= 20):
            raise self._refuse(text)
        number = int(word)
        if not self.minimum <= number <= self.maximum and not (self.or_zero and number == 0):
            raise self._refuse(text)
        return number

    def _word(self, word: str) -> str:
        lowered = word.lower()
        for choice in self.choices:
            if choice.lower() == lowered:
                return choice
        raise self._refuse(word)

    def _parse_set(self, text: str) -> frozenset[str]:
        words = [word for word in _LIST_SPLIT.split(_unwrap(text)) if word]
        if len(words) == 1 and words[0].lower() == "all" and "all" not in self.choices:
            return frozenset(self.choices)
        if len(words) == 1 and words[0].lower() in ("none", self.empty) and "none" not in self.choices:
            return frozenset()
        return frozenset(self._word(word) for word in words)

    def _parse_list(self, text: str) -> tuple[str, ...]:
        inner = _unwrap(text)
        found: tuple[str, ...] = ()
        position, end = 0, len(inner)
        while end and (inner[end - 1] == "," or inner[end - 1].isspace()):
            end -= 1
        while position < end:
            match = _LIST_WORD.match(inner, position, end)
            if match is None:
                raise InvalidValueError(f'{self.name}: {inner[position:end][:80]!r}: write a word with blanks as "two words"')
            found += (match[2] if match[1] is None else re.sub(r"\\(.)", r"\1", match[1]),)
            position = match.end()
        if len(found) > self.maximum:
            raise InvalidValueError(f"{self.name}: at most {self.maximum} are allowed, not {len(found)}")
        return found

    def _parse_form(self, text: str) -> str:
        if not text and (self.optional or self.default == ""):
            return ""
        try:
            return written_forms.url(text, self.choices) if self.kind is Kind.URL else _FORMS[self.kind](text)
        except ValueError as error:
            raise self._refuse(text) from error

    def _parse_address(self, text: str) -> str:
        if not text:
            return ""
        try:
            return str(ipaddress.ip_address(text.strip("[]")))
        except ValueError as error:
            raise self._refuse(text) from error

    def _parse_text(self, text: str) -> str:
        if not self.minimum <= len(text) <= self.maximum and not (self.or_zero and not text):
            none = ", or none" if self.or_zero else ""
            raise InvalidValueError(f"{self.name}: expected {self.minimum} to {self.maximum} characters{none}")
        return text


def _quoted(word: str) -> str:
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _unwrap(text: str) -> str:
    stripped = text.strip()
    if stripped.startswith("(") and stripped.endswith(")"):
        return stripped[1:-1]
    return stripped


@dataclass(frozen=True, slots=True)
class Context:
    """The settings of one CLI context, e.g. `imap`.

    `scope` says in which rows of the table `setting` explicit values lie: `service` (the server's own, id 0),
    `account` (inherited: the scopes defaults, domain, class, account), `domainConfig`, `accountData`, `recipient`, or
    `object` (of a named object; its attributes are in the object's own row where the context is an ObjectKind's). With
    `prefixed` the row's name is `<context>.<setting>`, so that several contexts share a scope. `permission` is what a
    change needs: a server permission in the scope `service`, else a permission on the domain.
    """

    name: str
    settings: tuple[Setting, ...]
    permission: str
    help: str = ""
    scope: str = "service"
    prefixed: bool = False
    by_name: Mapping[str, Setting] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        names = {setting.name.lower(): setting for setting in self.settings}
        if len(names) != len(self.settings):
            raise ValueError(f"context {self.name} declares a name twice")
        object.__setattr__(self, "by_name", names)

    def setting(self, name: str) -> Setting:
        """The declaration of a name in any case. Raises InvalidValueError for an unknown one."""
        found = self.by_name.get(name.lower())
        if found is None:
            raise InvalidValueError(f"{self.name} has no setting {name!r}")
        return found

    def stored_name(self, setting: Setting) -> str:
        """The name of the setting's row in the table `setting`."""
        return f"{self.name}.{setting.name}" if self.prefixed or self.scope == "service" else setting.name

    def permission_for(self, setting: Setting) -> str:
        """The permission that changing this setting needs."""
        return setting.permission or self.permission

    def permission_by_name(self, name: str) -> str:
        """The same by a name in any case, which may be that of a long text."""
        setting = self.by_name.get(name.lower())
        return self.permission if setting is None else self.permission_for(setting)

    def defaults(self) -> dict[str, Value]:
        """Default value of every setting, by its name."""
        return {setting.name: setting.default for setting in self.settings}


@dataclass(frozen=True, slots=True)
class ObjectKind:
    """A kind of named object that lies under an owner: a name server, a log rule, a socket filter, a signature.

    `context` declares the attributes. `key` names the attribute of it that tells objects of one owner apart; `limit` is
    how many one owner may have. `owners` are the scopes it may lie under: `service` (id 0), `domainConfig` (a domain),
    `domain` (a domain's account defaults), `class`, `account`, `recipient`, `object` (another named object), `admin`, or
    the name of a service (`webmail`, id 0) for what several services have.
    `permissions` says, by owner, what a change needs where it is not the context's permission.
    """

    name: str
    key: str
    context: Context
    limit: int = 1000
    folded: bool = True
    owners: tuple[str, ...] = ("service",)
    permissions: Mapping[str, str] = field(default_factory=dict)

    def permission_for(self, scope: str) -> str:
        """The permission that adding, changing or removing one under an owner of that scope needs."""
        return self.permissions.get(scope, self.context.permission)

    def key_of(self, text: str) -> str:
        """The stored form of a key; without regard to case where `folded`. Raises InvalidValueError."""
        setting = self.context.setting(self.key)
        value = setting.render(setting.parse(text))
        if not value:
            raise InvalidValueError(f"{setting.name}: a {self.name} needs one")
        return value.casefold() if self.folded else value


class Snapshot:
    """Frozen values of one context; attributes are spelled as in the CLI (`snapshot.maxErrors`)."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.__dict__.update(values)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"{type(self).__name__} has no setting {name!r}")

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("a snapshot of settings is frozen; use Settings.set")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Snapshot) and self.__dict__ == other.__dict__

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(sorted(self.__dict__))})"


# Short constructors: the tables of declarations stay one line per setting.


def boolean(name: str, default: bool, help: str, **more: Any) -> Setting:
    """A yes/no setting."""
    return Setting(name, Kind.BOOL, default, help, **more)


def integer(name: str, default: int, minimum: int, maximum: int, help: str, unit: str = "", **more: Any) -> Setting:
    """A whole number in a range."""
    return Setting(name, Kind.INT, default, help, unit=unit, minimum=minimum, maximum=maximum, **more)


def text(name: str, default: str, help: str, *, longest: int = 1024, **more: Any) -> Setting:
    """Free text of at most `longest` characters."""
    return Setting(name, Kind.TEXT, default, help, maximum=longest, **more)


def choice(name: str, default: str, choices: Iterable[str], help: str, **more: Any) -> Setting:
    """One word of several."""
    return Setting(name, Kind.CHOICE, default, help, choices=tuple(choices), **more)


def choice_set(name: str, default: Iterable[str], choices: Iterable[str], help: str, **more: Any) -> Setting:
    """Any of several words; the words `all` and `none` are understood."""
    return Setting(name, Kind.CHOICE_SET, frozenset(default), help, choices=tuple(choices), **more)


def words(name: str, default: Iterable[str], help: str, **more: Any) -> Setting:
    """A list of words."""
    return Setting(name, Kind.LIST, tuple(default), help, **more)


def secret(name: str, help: str, *, longest: int = 255, **more: Any) -> Setting:
    """A text that is never shown."""
    return Setting(name, Kind.SECRET, "", help, maximum=longest, **more)


def path(name: str, default: str, help: str, **more: Any) -> Setting:
    """A file or directory; relative ones lie under the data directory."""
    return Setting(name, Kind.TEXT, default, help, maximum=4096, **more)


def form(name: str, kind: Kind, default: str, help: str, **more: Any) -> Setting:
    """A value of one of the kinds with a grammar: TIME, DATE, EMAIL, URL, HOST, HOST_PORT, IP_PORT, ZONE,
    FILE_NAME, DIRECTORY, CIPHERS."""
    return Setting(name, kind, default, help, **more)
