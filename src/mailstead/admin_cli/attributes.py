"""SET, SHOW, SHOW ATTR and RESET over declared settings, with inherited values.

Invariants: what SET takes has passed its declaration before it waits; SHOW shows what waits on top of what is stored; a value
that is inherited says from where; secrets are shown as stars; HELP has the attributes that the administrator may set.

A context lists its attributes: those of declared settings (`Declared`) and its own (`Special`), which read and write otherwise.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from mailstead.admin_cli.context import SET_FORM, CliContext, Command, Condition, Result, make
from mailstead.admin_cli.grammar import CommandError, Word
from mailstead.admin_cli.responses import Reply, attribute, lines_of, quoted, show
from mailstead.admin_cli.syntax import Arguments
from mailstead.directory.bounds import bounded_text
from mailstead.directory.edits import require_value
from mailstead.settings.actor import PermissionDeniedError
from mailstead.settings.declaration import Context, Kind, Setting
from mailstead.settings.edits import Place, ValueChange, place_of, read_content, read_values

HIDDEN_VALUE = '"********"'
_BARE = frozenset({Kind.BOOL, Kind.INT, Kind.CHOICE, Kind.CHOICE_SET, Kind.LIST})

OLD_NAMES = {
    "enabletwofactorauth": "twoFactorAuthEnabled", "passwordrecoveryfilename": "passwordRecoveryEmailFileName",
    "maclsupport": "groupwareSupport",
}  # fmt: skip
"""What parameters were called in earlier versions of the protocol, lower case."""
_OLD_METHOD = re.compile(r"\bpeaBased\b", re.IGNORECASE)


def shown(setting: Setting, text: str) -> str:
    """A value as SHOW shows it: strings in double quotes, numbers, booleans, choices and lists bare."""
    if setting.secret:
        return HIDDEN_VALUE if text else '""'
    return text if setting.kind in _BARE and text else quoted(text)


@dataclass(frozen=True, slots=True)
class Special:
    """An attribute that is no declared setting. `read` gives the shown text, None for one that is never shown; `write`
    takes the word; `names` are old spellings; `allowed` asks the context, before `write` does, whether HELP has it."""

    name: str
    kind: str
    write: Callable[[Any, Word], Awaitable[None] | None] | None
    read: Callable[[Any], str | None] | None = None
    names: tuple[str, ...] = ()
    followers: tuple[str, ...] = ()
    """Names of `name value` pairs that may follow; handed to `write` as a mapping, third argument."""
    allowed: Condition | None = None
    instead: Callable[[Any, Word], str] | None = None
    """Of one that cannot be set: the command that does what was meant. Raises PermissionDeniedError."""


@dataclass(frozen=True, slots=True)
class Source:
    """From where values are inherited: a label and the explicit values there."""

    label: str
    values: Mapping[str, str]


class AttributeContext(CliContext):
    """A context with attributes; see `declarations`, `place`, `specials`, `sources`."""

    #: The declared settings of the context.
    declaration: ClassVar[Context | None] = None
    #: Old names of attributes, lower case, to the declared ones.
    renamed: ClassVar[Mapping[str, str]] = {}
    #: Long texts set with ESET; None where there are none.
    texts: ClassVar[Sequence[str]] = ()
    #: Whether values have upper bounds in the domain (ADM-02): SET refuses what is beyond them, and COMMIT asks again.
    bounded: ClassVar[bool] = False

    def place(self) -> Place:
        """Where the declared settings lie; the server's own unless a context says otherwise."""
        return place_of(self.declared())

    def declared(self) -> Context:
        """The declaration. Raises CommandError in a context that has none."""
        if self.declaration is None:
            raise CommandError("there is nothing to set here")
        return self.declaration

    def text_permission(self, name: str) -> str:
        """What changing a long text needs."""
        return self.declared().permission

    def settings(self) -> Sequence[Setting]:
        """Declared settings in the order they are shown."""
        return self.declaration.settings if self.declaration is not None else ()

    def specials(self) -> Sequence[Special]:
        """Attributes of the context's own, shown first."""
        return ()

    def sources(self) -> Sequence[Source] | None:
        """From where values are inherited, nearest first; None in a context without inheritance."""
        return None

    def stored(self) -> Mapping[str, str]:
        """Explicit values as they are stored."""
        if self.declaration is None:
            return {}
        return read_values(self.session.services.directory.database, self.place(), self.declaration)

    def pending_value(self, name: str) -> tuple[bool, str | None]:
        """Whether a value waits (here or above), and which."""
        context: CliContext | None = self
        place = self.place()
        while context is not None:
            waits, text = context.pending.value(place, name)
            if waits:
                return True, text
            context = context.parent
        return False, None

    def check_value(self, setting: Setting, text: str) -> None:
        """What a declaration cannot say. Raises CommandError."""

    def require_right(self, setting: Setting, text: str | None) -> None:
        """Refuse a change as COMMIT would, which asks again. Raises PermissionDeniedError."""
        declared = self.declared()
        if declared.scope != "object":  # There the owner's right is asked, where the object is staged.
            require_value(self.session.actor, self.place(), ValueChange(declared, setting, text))

    def require_text_right(self, name: str) -> None:
        """The same for a long text."""
        self.session.actor.require(self.text_permission(name), self.place().domain_id)

    def may_set(self, setting: Setting) -> bool:
        """Whether SET would take a value from the administrator; True where the right is asked elsewhere."""
        try:
            self.require_right(setting, "value")
        except PermissionDeniedError:
            return False
        except CommandError:  # There is no declaration: the right is the owner's, and asked where the change is staged.
            return True
        return True

    def may_set_text(self, name: str) -> bool:
        """The same for ESET and a long text."""
        try:
            self.require_text_right(name)
        except PermissionDeniedError:
            return False
        return True

    def settable(self) -> tuple[list[Special], list[Setting]]:
        """Attributes that the administrator may set."""
        own = [
            special for special in self.specials()
            if special.write is not None and (special.allowed is None or special.allowed(self))
        ]  # fmt: skip
        return own, [setting for setting in self.settings() if self.may_set(setting)]

    def may_set_any(self) -> bool:
        """Whether there is anything SET would take; also True where there are no attributes at all."""
        if not self.settings() and not self.specials():
            return True
        own, declared = self.settable()
        return bool(own or declared)

    def may_reset_any(self) -> bool:
        """The same for RESET, which takes declared settings and long texts."""
        return any(self.may_set(setting) for setting in self.settings()) or any(self.may_set_text(name) for name in self.texts)

    # -- SET ------------------------------------------------------------------------------------------------------

    def setting_named(self, name: str) -> Setting | None:
        """A declared setting of this context by a name in any case, also an old one."""
        wanted = self.renamed.get(name.lower(), OLD_NAMES.get(name.lower(), name)).lower()
        return next((setting for setting in self.settings() if setting.name.lower() == wanted), None)

    def special_named(self, name: str) -> Special | None:
        """An own attribute by a name in any case, also an old one."""
        lowered = name.lower()
        for special in self.specials():
            if lowered == special.name.lower() or lowered in special.names:
                return special
        return None

    async def set_words(self, words: Sequence[Word]) -> None:
        """SET: pairs of name and value. Nothing waits unless all of them are right, as far as declarations say."""
        place, size = 0, len(words)
        changes: list[tuple[Setting, str]] = []
        calls: list[tuple[Special, Word, dict[str, Word]]] = []
        while place < size:
            name = words[place].text
            if place + 1 >= size:
                if self.special_named(name) is None and self.setting_named(name) is None:
                    raise CommandError(f"there is no parameter {name[:80]!r} here")
                raise CommandError(f"the parameter {name[:80]} has no value")
            value = words[place + 1]
            place += 2
            special = self.special_named(name)
            if special is not None:
                if special.write is None:
                    does = f"; {special.instead(self, value)} does it" if special.instead is not None else ""
                    raise CommandError(f"{special.name} cannot be set{does}")
                extra: dict[str, Word] = {}
                while place + 1 < size and any(words[place].same(follower) for follower in special.followers):
                    extra[words[place].text.lower()] = words[place + 1]
                    place += 2
                calls.append((special, value, extra))
                continue
            setting = self.setting_named(name)
            if setting is None:
                raise CommandError(f"there is no parameter {name[:80]!r} here")
            text = value.value
            if setting.name == "passwordRecoveryMethods":
                text = _OLD_METHOD.sub("email", text)
            parsed = setting.parse(text)
            self.check_value(setting, text)
            self.require_right(setting, text)
            if self.bounded:
                self.session.services.directory.need_within_bounds(self.place(), setting, setting.render(parsed))
            changes.append((setting, text))
        self.begin()
        for special, value, extra in calls:
            assert special.write is not None
            result = special.write(self, value) if not special.followers else special.write(self, value, extra)  # type: ignore[call-arg]
            if isinstance(result, Awaitable):
                await result
        for setting, text in changes:
            self.keep_value(setting, text)

    def keep_value(self, setting: Setting, text: str | None) -> None:
        """Let a value wait; None makes it inherited, or the default, again."""
        self.require_right(setting, text)
        self.pending.set_value(self.place(), self.declared(), setting, text)

    def keep_content(self, name: str, text: str | None) -> None:
        """Let a long text wait."""
        self.require_text_right(name)
        self.pending.set_content(self.place(), name, text, self.text_permission(name))

    # -- SHOW -----------------------------------------------------------------------------------------------------

    def value_of(self, setting: Setting, stored: Mapping[str, str], sources: Sequence[Source] | None) -> str:
        """The shown text of a declared setting, with its origin where values are inherited."""
        waits, text = self.pending_value(setting.name)
        explicit = text if waits else stored.get(setting.name)
        if sources is None:
            return shown(setting, self.in_effect(setting, setting.render(setting.default)) if explicit is None else explicit)
        label, inherited = "server defaults", setting.render(setting.default)
        for source in sources:
            if setting.name in source.values:
                label, inherited = source.label, source.values[setting.name]
                break
        if explicit is None:
            return f"{shown(setting, self.in_effect(setting, inherited))} [inherited from {label}: {shown(setting, inherited)}]"
        return f"{shown(setting, explicit)} [explicit, overrides inherited value: {shown(setting, inherited)}]"

    def in_effect(self, setting: Setting, text: str) -> str:
        """What an inherited value, or a default, comes to within the limits of the domain (ADM-02)."""
        if not self.bounded:
            return text
        return bounded_text(self.session.services.directory.domain_settings(self.domain_id), self.place(), setting, text)

    def shown_pairs(self) -> list[tuple[str, str]]:
        """What SHOW shows."""
        pairs = [(special.name, text) for special in self.specials() if (text := self._read(special)) is not None]
        settings = self.settings()
        if settings:
            stored, sources = self.stored(), self.sources()
            pairs.extend((setting.name, self.value_of(setting, stored, sources)) for setting in settings)
        return pairs

    def _read(self, special: Special) -> str | None:
        return special.read(self) if special.read is not None else None

    def shown_attribute(self, name: str) -> tuple[str, str]:
        """Name and text of one attribute. Raises CommandError."""
        special = self.special_named(name)
        if special is not None:
            text = self._read(special)
            if text is None:
                raise CommandError(f"{special.name} is never shown")
            return special.name, text
        setting = self.setting_named(name)
        if setting is None:
            raise CommandError(f"there is no parameter {name[:80]!r} here")
        return setting.name, self.value_of(setting, self.stored(), self.sources())

    def parameter_lines(self) -> list[str]:
        """Every parameter that may be set, with its values, its meaning and its unit."""
        own, declared = self.settable()
        return [*(f"SET {special.name} <{special.kind}>" for special in own), *(_parameter_line(setting) for setting in declared)]

    # -- long texts -----------------------------------------------------------------------------------------------

    def content(self, name: str) -> str | None:
        """A long text, what waits on top of what is stored."""
        place = self.place()
        context: CliContext | None = self
        while context is not None:
            if (place, name) in context.pending.contents:
                return context.pending.contents[place, name].text
            context = context.parent
        return read_content(self.session.services.directory.database, place, name)

    # -- the commands ---------------------------------------------------------------------------------------------

    @classmethod
    def extra_commands(cls) -> list[Command]:
        """SET, SHOW and, where there are texts, ESET."""
        commands = [
            *super().extra_commands(),
            make(SET_FORM, "sets one or more parameters, each as name and value", _set, listed=AttributeContext.may_set_any),
            make("SHOW [ATTR <param>]", "shows the parameters, or one", _show),
        ]
        for name in cls.texts:
            may = functools.partial(_may_set_text, name)
            commands.append(make(f"ESET {name}", "sets the text that follows", _eset(name), listed=may))
            commands.append(make(f"SHOW {name}", "shows the text", _show_text(name)))
        return commands


class InheritingContext(AttributeContext):
    """A context whose values can be inherited: RESET makes one so again."""

    @classmethod
    def extra_commands(cls) -> list[Command]:
        """RESET too."""
        may = AttributeContext.may_reset_any
        return [*super().extra_commands(), make("RESET <attr>", "makes a parameter inherited again", _reset, listed=may)]


def _parameter_line(setting: Setting) -> str:
    words = "|".join(setting.choices) or {Kind.BOOL: "yes|no", Kind.INT: "number"}.get(setting.kind, "text")
    value = f"(<{words}>)" if setting.kind in (Kind.CHOICE_SET, Kind.LIST) else f"<{words}>"
    bounds = f"; {setting.bounds()}" if setting.kind is Kind.INT else ""
    unit = f" {setting.unit}" if setting.unit else ""
    return f"SET {setting.name} {value} - {setting.help}{bounds}{unit}"


async def _set(context: AttributeContext, arguments: Arguments) -> Result:
    await context.set_words(arguments.rest)
    return None


def _show(context: AttributeContext, arguments: Arguments) -> Result:
    if "attr" in arguments:
        return attribute(*context.shown_attribute(arguments["attr"]))
    return show(context.shown_pairs())


def _reset(context: AttributeContext, arguments: Arguments) -> Result:
    setting = context.setting_named(arguments["attr"])
    if setting is None:
        if arguments["attr"].lower() in (name.lower() for name in context.texts):
            context.begin()
            name = next(name for name in context.texts if name.lower() == arguments["attr"].lower())
            context.keep_content(name, None)
            return None
        raise CommandError(f"there is no parameter {arguments['attr'][:80]!r} here")
    context.begin()
    context.keep_value(setting, None)
    return None


def _may_set_text(name: str, context: AttributeContext) -> bool:
    return context.may_set_text(name)


def _eset(name: str) -> Callable[[AttributeContext, Arguments], Result]:
    def handler(context: AttributeContext, arguments: Arguments) -> Result:
        context.require_text_right(name)

        async def take(text: str) -> Reply | None:
            context.begin()
            context.keep_content(name, text)
            return None

        context.session.take_text(take)
        return None

    return handler


def _show_text(name: str) -> Callable[[AttributeContext, Arguments], Result]:
    def handler(context: AttributeContext, arguments: Arguments) -> Result:
        return Reply(lines_of(context.content(name) or ""))

    return handler
