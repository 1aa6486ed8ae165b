"""Named objects under a context: LIST, ADD, UPDATE, REMOVE, SHOW, and the context an object is changed in.

Invariants: a change of an object waits as all others do; what waits, here or above, is shown on top of what is stored; an
object that was added may be updated or removed before it is committed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from mailstead.admin_cli.attributes import AttributeContext, shown
from mailstead.admin_cli.context import CliContext, Command, Condition, Result, make
from mailstead.admin_cli.grammar import CommandError, Word
from mailstead.admin_cli.responses import attribute, items, show, table
from mailstead.admin_cli.syntax import Arguments
from mailstead.settings.declaration import ObjectKind, Setting
from mailstead.settings.edits import Pending, Place, StagedObject, read_objects
from mailstead.settings.objects import NamedObject, checked_attributes, new_object_id


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose objects: where they lie, and the permission that changing them needs there."""

    place: Place
    permission: str


def may_change(owner_of: Callable[[Any], Owner]) -> Condition:
    """The condition that the administrator may change objects of the context's owner."""

    def may(context: Any) -> bool:
        owner = owner_of(context)
        return bool(context.session.actor.may(owner.permission, owner.place.domain_id))

    return may


def pendings(context: CliContext | None) -> list[Pending]:
    """What waits in a context and above it, from the outermost in."""
    found: list[Pending] = []
    while context is not None:
        found.append(context.pending)
        context = context.parent
    return found[::-1]


def objects_of(context: CliContext, kind: ObjectKind, owner: Owner) -> list[NamedObject]:
    """An owner's objects as the session sees them."""
    return read_objects(context.session.services.settings.objects, pendings(context), kind, owner.place)


def object_named(context: CliContext, kind: ObjectKind, owner: Owner, name: str, word: str) -> NamedObject:
    """One of them. Raises CommandError."""
    key = kind.key_of(name)
    for found in objects_of(context, kind, owner):
        if found.key == key:
            return found
    raise CommandError(f"the {word} {name[:80]} does not exist")


def stage(
    context: CliContext, kind: ObjectKind, owner: Owner, found: NamedObject | None, attributes: Mapping[str, str] | None
) -> None:
    """Let an object be as `attributes` say (None: gone) after the next commit. Raises PermissionDeniedError."""
    context.session.actor.require(owner.permission, owner.place.domain_id)
    context.begin()
    number = found.id if found is not None else new_object_id()
    # What an outer context staged under an earlier key is still the same stored object.
    committed = context.session.services.settings.objects.all(kind, owner.place.scope, owner.place.scope_id)
    stored = next((row for row in committed if row.id == number), None)
    if stored is None and attributes is None:
        for pending in pendings(context):
            for key, staged in list(pending.objects.items()):
                if staged.id == number:
                    del pending.objects[key]
        return
    context.pending.stage(StagedObject(kind, owner.place, owner.permission, number, stored, attributes))


class ObjectContext(AttributeContext):
    """A context over one named object, stored or new; DONE or COMMIT comes from the class it is mixed with."""

    kind: ClassVar[ObjectKind]

    def __init__(self, parent: CliContext, owner: Owner, found: NamedObject | None, attributes: Mapping[str, str]) -> None:
        super().__init__(parent.session, parent)
        self.owner = owner
        #: The object as it was entered; a new one has its id already, so that objects of its own can point at it.
        self.found = found
        self.attributes: dict[str, str] = dict(found.attributes if found is not None else {}) | dict(attributes)
        self.object_id = found.id if found is not None else new_object_id()
        self.domain_id = owner.place.domain_id

    def settings(self) -> Sequence[Setting]:
        """The kind's attributes."""
        return self.kind.context.settings

    def stored(self) -> Mapping[str, str]:
        """Explicit attributes with what was set here."""
        return self.attributes

    def pending_value(self, name: str) -> tuple[bool, str | None]:
        """Everything is in `attributes`."""
        return False, None

    async def set_words(self, words: Sequence[Word]) -> None:
        """SET: pairs of name and value."""
        if len(words) % 2:
            raise CommandError(f"the parameter {words[-1].value[:80]} has no value")
        changes = {}
        for name, value in zip(words[::2], words[1::2], strict=True):
            setting = self.setting_named(name.text)
            if setting is None:
                raise CommandError(f"there is no parameter {name.text[:80]!r} here")
            changes[setting.name] = setting.render(setting.parse(value.value))
        self.begin()
        self.attributes.update(changes)

    async def collect(self) -> None:
        """Stage the object in this context's changes. Raises CommandError when its key is taken."""
        key = self.kind.key_of(self.attributes[self.kind.context.setting(self.kind.key).name])
        for other in objects_of(self, self.kind, self.owner):
            if other.key == key and other.id != self.object_id:
                raise CommandError(f"the {self.kind.name} {key} already exists")
        found = self.found or NamedObject(self.object_id, self.kind, key, self.attributes)
        stage(self, self.kind, self.owner, found, self.attributes)


def object_commands(
    kind: ObjectKind,
    word: str,
    plural: str,
    context_class: type[ObjectContext] | None,
    owner_of: Callable[[Any], Owner],
    *,
    required: Sequence[str] = (),
    columns: Sequence[str] = (),
    title: str = "",
    key_word: bool = True,
    optional: Sequence[str] | None = None,
    spelled: Mapping[str, str] | None = None,
    on_line: Sequence[str] = (),
) -> list[Command]:
    """LIST, ADD, UPDATE, REMOVE and SHOW of a kind. `required` are attributes ADD asks for, under the name it is `spelled`
    there; without a context class ADD and UPDATE take attributes on their line (`optional`, or all) and open nothing.
    `columns` make the list a table; `on_line` may be given to ADD and UPDATE though these open a context."""
    key = kind.context.setting(kind.key).name
    optional_names = [s.name for s in kind.context.settings if s.name != key and s.name not in required]
    if optional is not None:
        optional_names = [name for name in optional_names if name in optional]
    words = {s.name: (spelled or {}).get(s.name, s.name) for s in kind.context.settings}

    def given(arguments: Arguments) -> dict[str, str]:
        names = {name: spelling.lower() for name, spelling in words.items() if name != key}
        return {name: arguments[spelling] for name, spelling in names.items() if spelling in arguments}

    def list_all(context: Any, arguments: Arguments) -> Result:
        rows = [_cells(kind, row, columns or (key,)) for row in objects_of(context, kind, owner_of(context))]
        heading = title or f"The list of {plural}:"
        return table(heading, columns, rows) if columns else items(heading, (row[0] for row in rows))

    def add(context: Any, arguments: Arguments) -> Result:
        owner = owner_of(context)
        context.session.actor.require(owner.permission, owner.place.domain_id)
        attributes = checked_attributes(kind, {key: arguments[key.lower()], **given(arguments)})
        wanted = kind.key_of(attributes[key])
        if any(other.key == wanted for other in objects_of(context, kind, owner)):
            raise CommandError(f"the {word} {attributes[key][:80]} already exists")
        if context_class is None:
            stage(context, kind, owner, None, attributes)
        else:
            _enter(context, context_class(context, owner, None, attributes))
        return None

    def update(context: Any, arguments: Arguments) -> Result:
        owner = owner_of(context)
        context.session.actor.require(owner.permission, owner.place.domain_id)
        found = object_named(context, kind, owner, arguments[key.lower()], word)
        if context_class is None:
            stage(context, kind, owner, found, {**found.attributes, **checked_attributes(kind, given(arguments))})
        else:
            _enter(context, context_class(context, owner, found, checked_attributes(kind, given(arguments))))
        return None

    def remove(context: Any, arguments: Arguments) -> Result:
        owner = owner_of(context)
        stage(context, kind, owner, object_named(context, kind, owner, arguments[key.lower()], word), None)
        return None

    def show_one(context: Any, arguments: Arguments) -> Result:
        values = object_named(context, kind, owner_of(context), arguments[key.lower()], word).values
        if "attr" in arguments:
            setting = kind.context.setting(arguments["attr"])
            return attribute(setting.name, shown(setting, setting.render(getattr(values, setting.name))))
        return show((s.name, shown(s, s.render(getattr(values, s.name)))) for s in kind.context.settings)

    more = "".join(f" {words[name]} <{words[name]}>" for name in required)
    written = on_line if context_class is not None else optional_names
    tail = "".join(f" [{name} <{name}>]" for name in written)
    may = may_change(owner_of)
    identified = f"{word} [{key}] <{key}>" if key_word else f"{word} <{key}>"
    commands = [
        make(f"LIST {plural}", "lists them", list_all),
        make(f"ADD {identified}{more}{tail}", "adds one", add, listed=may),
        make(f"REMOVE {identified}", "removes one", remove, listed=may),
    ]
    if context_class is not None or optional_names or required:
        changed = "".join(f" [{name} <{name}>]" for name in required) if context_class is None else ""
        commands.append(make(f"UPDATE {identified}{changed}{tail}", "changes one", update, listed=may))
        commands.append(make(f"SHOW {identified} [ATTR <param>]", "shows one", show_one))
    return commands


def _cells(kind: ObjectKind, row: NamedObject, columns: Sequence[str]) -> list[str]:
    values = row.values
    settings = [kind.context.setting(name) for name in columns]
    return [setting.render(getattr(values, setting.name)) for setting in settings]


def _enter(context: CliContext, child: ObjectContext) -> None:
    child.begin()
    context.session.enter(child)
