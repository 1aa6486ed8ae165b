"""A context of the administration protocol: its commands, and the changes that wait in it.

Invariants:
- BACK drops what waits here; DONE hands it to the parent; COMMIT writes it, with what children handed up, whole or not at all, and
  only then goes back. A context ends in one of DONE and COMMIT.
- A command that the administrator has no right to is never listed by HELP. It is not known either, or (`listed`) known all the
  same, and names the right that is missing. One whose right depends on the object that it names is listed when the right is held
  on any.

A context is a class with methods marked `@command(form, help)`; commands that many contexts share are made by functions that
return `Command` lists (`extra_commands`). The form is matched and shown; see `syntax`.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

from mailstead.admin_cli.grammar import CommandError, Word
from mailstead.admin_cli.responses import Reply
from mailstead.admin_cli.syntax import Arguments, Syntax, parse, unknown
from mailstead.settings.edits import ChangedMeanwhileError, Pending
from mailstead.settings.permissions import SERVER_FORM, SERVER_PERMISSIONS

if TYPE_CHECKING:
    from mailstead.admin_cli.session import Session

Result = Reply | None
Handler = Callable[[Any, Arguments], "Awaitable[Result] | Result"]
Condition = Callable[[Any], bool]

SET_FORM = "SET <parameters...>"
COMMITTING = "committing changes and switching back to previous context"


@dataclass(frozen=True, slots=True)
class Command:
    """One command; `hidden` ones are understood and not listed (old spellings); `allowed` asks the context, and so does `listed`,
    of one that says itself which right is missing: it is only left out of HELP."""

    syntax: Syntax
    help: str
    handler: Handler
    hidden: bool = False
    allowed: Condition | None = None
    listed: Condition | None = None


def command(
    form: str, help: str = "", *, hidden: bool = False, allowed: Condition | None = None, listed: Condition | None = None
) -> Callable[[Handler], Handler]:
    """Mark a method as the handler of a form; may be repeated for several forms."""

    def mark(handler: Handler) -> Handler:
        marks: list[Command] = handler.__dict__.setdefault("admin_commands", [])
        marks.insert(0, Command(parse(form), help, handler, hidden, allowed, listed))
        return handler

    return mark


def make(
    form: str,
    help: str,
    handler: Handler,
    *,
    hidden: bool = False,
    allowed: Condition | None = None,
    listed: Condition | None = None,
) -> Command:
    """A command that is no method."""
    return Command(parse(form), help, handler, hidden, allowed, listed)


def needs(permission: str) -> Condition:
    """The condition that the administrator holds a permission: on the context's domain, or the server's own anywhere."""
    if permission in SERVER_PERMISSIONS:
        return lambda context: context.session.actor.may(permission)
    return lambda context: context.session.actor.may(permission, context.domain_id)


def anywhere(*permissions: str) -> Condition:
    """The condition that the administrator holds one of these domain permissions on some domain, or on all."""
    wanted = frozenset(permissions)
    on_all = frozenset(SERVER_FORM[permission] for permission in permissions)

    def holds(context: Any) -> bool:
        actor = context.session.actor
        return actor.everything or not on_all.isdisjoint(actor.server) or any(
            wanted & rights - actor.denied.get(domain, frozenset()) for domain, rights in actor.domains.items()
        )

    return holds


def together_anywhere(permissions: Iterable[str]) -> Condition:
    """The condition that the administrator holds all of these domain permissions on one domain, or on all."""
    wanted = tuple(permissions)

    def holds(context: Any) -> bool:
        actor = context.session.actor
        on_all = actor.everything or all(SERVER_FORM[permission] in actor.server for permission in wanted)
        return on_all or any(all(actor.may(permission, domain) for permission in wanted) for domain in actor.domains)

    return holds


def needs_all(permissions: Iterable[str]) -> Condition:
    """The condition that the administrator holds each of several permissions of the server."""
    wanted = tuple(permissions)
    return lambda context: all(context.session.actor.may(permission) for permission in wanted)


def only(condition: Condition, commands: Iterable[Command]) -> list[Command]:
    """The same commands, for administrators for whom a condition holds as well."""

    def both(entry: Command) -> Condition:
        own = entry.allowed
        return condition if own is None else lambda context: bool(condition(context) and own(context))

    return [replace(entry, allowed=both(entry)) for entry in commands]


_TABLES: dict[type, tuple[list[Command], dict[str, list[Command]]]] = {}
_WORD = re.compile(r"[^|]+")


def _table_of(kind: type[CliContext]) -> tuple[list[Command], dict[str, list[Command]]]:
    """Commands of a class in the order they are written, own ones first, and by first word."""
    found = _TABLES.get(kind)
    if found is None:
        commands: list[Command] = []
        forms: set[str] = set()
        for ancestor in kind.__mro__:
            for value in vars(ancestor).values():
                for marked in getattr(value, "admin_commands", ()):
                    if marked.syntax.form.lower() not in forms:
                        forms.add(marked.syntax.form.lower())
                        commands.append(marked)
        commands.extend(entry for entry in kind.extra_commands() if entry.syntax.form.lower() not in forms)
        by_word: dict[str, list[Command]] = {}
        for entry in commands:
            for choice in _WORD.findall(entry.syntax.head[0]):
                by_word.setdefault(choice.lower(), []).append(entry)
        found = _TABLES[kind] = (commands, by_word)
    return found


@dataclass(slots=True)
class _Found:
    """The best form for a line so far."""

    length: int = -1
    matches: list[Command] = field(default_factory=list)


class CliContext:
    """Base of all contexts; `parent` is None for the root."""

    #: The prompt's name without `#`: the path, components joined by `-`.
    name: ClassVar[str] = ""
    #: What the path of a context that lies below several others ends in; it has no `name` then.
    below: ClassVar[str] = ""
    #: How HELP calls it.
    title: ClassVar[str] = ""
    #: The verb that keeps changes: COMMIT, DONE, or empty where there are none.
    keep: ClassVar[str] = ""
    #: Verb and object, lower case, that are likely to be said for a command of the context, to the form of that command.
    likely: ClassVar[Mapping[str, str]] = {}

    def __init__(self, session: Session, parent: CliContext | None) -> None:
        self.session = session
        self.parent = parent
        self.pending = Pending()
        #: The domain whose permissions count; 0 for the server's.
        self.domain_id: int = parent.domain_id if parent is not None else 0

    @property
    def path(self) -> str:
        """`name`, or the path of the context above and what this one adds to it."""
        return f"{self.parent.path}-{self.below}" if self.below and self.parent is not None else self.name

    @property
    def prompt(self) -> str:
        """`<path#> `."""
        return f"<{self.path}#> "

    @classmethod
    def extra_commands(cls) -> list[Command]:
        """Commands made by functions."""
        return []

    # -- finding and running ---------------------------------------------------------------------------------

    def commands(self) -> list[Command]:
        """What the administrator may do here."""
        return [
            entry
            for entry in _table_of(type(self))[0]
            if not entry.hidden and self._may(entry) and (entry.listed is None or entry.listed(self))
        ]

    def _may(self, entry: Command) -> bool:
        return entry.allowed is None or bool(entry.allowed(self))

    def find(self, words: Sequence[Word]) -> tuple[Command, Arguments]:
        """The command that a line means. Raises CommandError."""
        first = words[0].text.lower()
        best = _Found()
        for entry in _table_of(type(self))[1].get(first, ()):
            length = entry.syntax.match(words)
            if length < 0 or length < best.length or not self._may(entry):
                continue
            if length > best.length:
                best = _Found(length)
            best.matches.append(entry)
        if not best.matches and first in ("commit", "done") and self.keep:
            raise CommandError(f"unknown command: {first.upper()!r}; this context is left with {self.keep}, or with BACK")
        if not best.matches and (meant := self.likely.get(" ".join(word.keyword for word in words[:2]))):
            raise CommandError(f"unknown command: {' '.join(word.text for word in words[:2])!r}; here it is {meant}")
        if not best.matches:
            raise unknown(words)
        refusal: CommandError | None = None
        for entry in best.matches:
            try:
                return entry, entry.syntax.arguments(words)
            except CommandError as error:
                refusal = refusal or error
        assert refusal is not None
        raise refusal

    def parameter_lines(self) -> list[str]:
        """What SET takes of this administrator, as lines of HELP."""
        return []

    def value_lines(self) -> list[str]:
        """Commands with each of the values they take, as lines of HELP that are shown with a word only: they are many."""
        return []

    def begin(self) -> None:
        """Note what has been seen of the database, before the first change waits."""
        if self.pending.seen < 0:
            self.pending.seen = self.session.services.directory.database.position()

    # -- what every context has ----------------------------------------------------------------------------------

    @command("HELP [<word>]", "lists the commands of this context, or those that contain a word")
    def help_command(self, arguments: Arguments) -> Result:
        """HELP: a heading, then a line for each command, groups by verb separated by empty lines. With a word only the lines
        that have it, in any case, in what is to be typed. Raises CommandError when there is none."""
        word = arguments.get("word", "")
        which = f" with {word[:80]!r}" if word else ""
        lines = [f"The commands of the context {self.title or self.name}{which} are:", ""]
        verb = ""
        for entry in self.commands():
            shown = [f"{entry.syntax.form} - {entry.help}" if entry.help else entry.syntax.form]
            if entry.syntax.form == SET_FORM:
                shown.extend(self.parameter_lines())
            shown = [line for line in shown if word.lower() in line.partition(" - ")[0].lower()]
            if not shown:
                continue
            first = entry.syntax.head[0]
            if verb and first != verb:
                lines.append("")
            verb = first
            lines.extend(shown)
        values = [line for line in self.value_lines() if word.lower() in line.partition(" - ")[0].lower()] if word else []
        if values:
            lines.extend(["", *values] if verb else values)
        if not verb and not values:
            raise CommandError(f"no command or parameter of this context contains {word[:80]!r}; HELP lists all")
        return Reply([*lines, ""])

    @command("EXIT", "ends the session; what was not committed is lost")
    @command("QUIT", "ends the session; what was not committed is lost")
    def exit_command(self, arguments: Arguments) -> Result:
        """EXIT and QUIT."""
        self.session.say_goodbye()
        return None

    async def drop(self) -> None:
        """BACK: what waits here is lost."""
        self.pending.clear()

    async def collect(self) -> None:
        """Before DONE or COMMIT: put what waits elsewhere into `pending`. Raises CommandError for what is not whole."""


class SubContext(CliContext):
    """A context that has a parent, and so BACK."""

    @command("BACK", "goes to the previous context; changes made here are dropped")
    async def back_command(self, arguments: Arguments) -> Result:
        """BACK."""
        await self.drop()
        self.session.leave(self)
        return None


class DoneContext(SubContext):
    """A context whose changes wait in the parent."""

    keep = "DONE"

    @command("DONE", "goes to the previous context; changes made here wait for its COMMIT")
    async def done_command(self, arguments: Arguments) -> Result:
        """DONE."""
        await self.collect()
        assert self.parent is not None
        self.parent.pending.take(self.pending)
        self.session.leave(self)
        return None


class CommitForDoneContext(DoneContext):
    """A context where COMMIT is taken for DONE. Named first among a class's bases.

    The reference lists COMMIT here, though the context above has the one that writes.
    """

    @classmethod
    def extra_commands(cls) -> list[Command]:
        """COMMIT, after those of the other bases."""
        return [*super().extra_commands(), make("COMMIT", "goes to the previous context; its COMMIT writes", cls.done_command)]

    @command("DONE", hidden=True)
    async def also_done(self, arguments: Arguments) -> Result:
        """DONE."""
        result = self.done_command(arguments)
        return await result if isinstance(result, Awaitable) else result


class CommitContext(SubContext):
    """A context that writes its changes."""

    keep = "COMMIT"

    @command("COMMIT", "writes the changes and goes to the previous context")
    async def commit_command(self, arguments: Arguments) -> Result:
        """COMMIT. One that fails leaves everything as it waited before, so that it can be repeated."""
        waiting = list(self.pending.steps)
        try:
            await self.collect()
            await write(self)
        except BaseException:
            self.pending.steps[:] = waiting
            raise
        self.session.leave(self)
        return Reply(notes=(COMMITTING,))


async def write(context: CliContext) -> None:
    """Commit what waits in a context. Raises what Directory.commit does."""
    if not context.pending:
        context.pending.clear()
        return
    session = context.session
    try:
        first, last = await session.services.directory.commit(context.pending, actor=session.actor, own=session.wrote)
    except ChangedMeanwhileError:
        context.pending.seen = session.services.directory.database.position()
        raise
    session.note_written(first, last)
    context.pending.clear()


async def run_now(context: CliContext, change: Callable[[Pending], None]) -> None:
    """Make one change at once, apart from what waits."""
    session = context.session
    pending = Pending()
    change(pending)
    first, last = await session.services.directory.commit(pending, actor=session.actor, own=session.wrote)
    session.note_written(first, last)
