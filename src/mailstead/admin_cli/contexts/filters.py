"""Filters (FLT-*): script, socket, integrated and active ones, white and black lists, at every level that has them.

Invariants: filters are kept and checked here; what runs them reads them as they are committed.
"""

from __future__ import annotations

import functools
from typing import Any, ClassVar

from mailstead.admin_cli.attributes import AttributeContext, Special
from mailstead.admin_cli.context import CliContext, Command, CommitContext, CommitForDoneContext, DoneContext, Result, make, needs
from mailstead.admin_cli.contexts.services import ServiceContext, enter
from mailstead.admin_cli.grammar import CommandError, Word
from mailstead.admin_cli.objects import ObjectContext, Owner, may_change, object_commands, objects_of, stage
from mailstead.admin_cli.responses import Reply, items, lines_of
from mailstead.admin_cli.syntax import Arguments
from mailstead.settings.declaration import ObjectKind, boolean
from mailstead.settings.declarations import DOMAIN_CONTEXTS, OBJECT_KINDS, SERVICE_CONTEXTS
from mailstead.settings.edits import Place, place_of, read_values

SCRIPT, SOCKET = OBJECT_KINDS["scriptFilter"], OBJECT_KINDS["socketFilter"]
INTEGRATED = OBJECT_KINDS["integratedFilter"]
ACTIVE, ACCOUNT_ACTIVE = OBJECT_KINDS["activeFilter"], OBJECT_KINDS["accountActiveFilter"]
PRESET, PRESET_FILTER = OBJECT_KINDS["preset"], OBJECT_KINDS["presetFilter"]
_YES_NO = boolean("propagateFilterTemplate", False, "")


def owner_at(kind: ObjectKind) -> Any:
    """The owner of a filters context's objects, with the permission its level needs."""

    def owner(context: Any) -> Owner:
        place: Place = context.filter_place()
        return Owner(place, kind.permission_for(place.scope))

    return owner


class ScriptFilterContext(ObjectContext, DoneContext):
    """A script filter; its text is given with UPLOAD filter."""

    below = "script"
    title = "ScriptFilter"
    kind = SCRIPT

    @classmethod
    def extra_commands(cls) -> list[Command]:
        """UPLOAD filter."""
        return [*super().extra_commands(), make("UPLOAD filter", "sets the script that follows", _upload)]


class SocketFilterContext(ObjectContext, DoneContext):
    """`<server-filters-socket#>`."""

    name = "server-filters-socket"
    title = "SocketFilter"
    kind = SOCKET


class IntegratedFilterContext(ObjectContext, DoneContext):
    """`<server-filters-integrated#>`."""

    name = "server-filters-integrated"
    title = "IntegratedFilter"
    kind = INTEGRATED


class ActiveFilterContext(ObjectContext, DoneContext):
    """A filter in use, of the server or a domain."""

    below = "active"
    title = "ActiveFilter"
    kind = ACTIVE


class AccountActiveFilterContext(ActiveFilterContext):
    """A filter in use, of accounts, classes and lists."""

    kind = ACCOUNT_ACTIVE


def _upload(context: ScriptFilterContext, arguments: Arguments) -> Result:
    async def take(text: str) -> Reply | None:
        context.begin()
        place = Place("object", context.object_id, "", context.domain_id)
        context.pending.set_content(place, "script", text or None, context.owner.permission)
        return None

    context.session.take_text(take)
    return None


def _filters(context: Any, arguments: Arguments) -> Result:
    """LIST Filters: three sections with their rows, whatever the place; socket filters are the server's everywhere."""
    lines = [""]
    for title, kind, columns in (
        ("List of Socket Filters:", SOCKET, ("name", "address", "protocolFile")),
        ("List of Script Filters:", SCRIPT, ("name", "type", "file")),
        ("List of Active Filters:", context.active_kind, ("priority", "filterName", "filterType")),
    ):
        # The words name, type and file mark a heading for programs.
        lines += [title, " | ".join(("name", "type", "address", "file") if kind is SOCKET else columns)]
        owner = Owner(Place("service", 0), SOCKET.permission_for("service")) if kind is SOCKET else owner_at(kind)(context)
        for row in objects_of(context, kind, owner):
            values = row.values
            cells = [kind.context.setting(name).render(getattr(values, name)) for name in columns]
            if kind is SOCKET:
                cells.insert(1, "socket")
            lines.append(" | ".join(cells))
        lines.append("")
    return Reply(lines)


def _pattern_commands(word: str, kind: ObjectKind) -> list[Command]:
    """LIST, ADD, REMOVE and RESET of a white or black list."""

    def list_all(context: Any, arguments: Arguments) -> Result:
        return items(f"The {word.lower()}:", (row.name for row in objects_of(context, kind, owner_at(kind)(context))))

    def add(context: Any, arguments: Arguments) -> Result:
        owner = owner_at(kind)(context)
        pattern = arguments["pattern"]
        if any(row.key == kind.key_of(pattern) for row in objects_of(context, kind, owner)):
            raise CommandError(f"{pattern[:80]} already exists in the {word.lower()}")
        stage(context, kind, owner, None, {"pattern": pattern})
        return None

    def remove(context: Any, arguments: Arguments) -> Result:
        owner = owner_at(kind)(context)
        for row in objects_of(context, kind, owner):
            if row.key == kind.key_of(arguments["pattern"]):
                stage(context, kind, owner, row, None)
                return None
        raise CommandError(f"{arguments['pattern'][:80]} does not exist in the {word.lower()}")

    def reset(context: Any, arguments: Arguments) -> Result:
        owner = owner_at(kind)(context)
        context.session.actor.require(owner.permission, owner.place.domain_id)
        for row in objects_of(context, kind, owner):
            stage(context, kind, owner, row, None)
        return None

    may = may_change(owner_at(kind))
    return [
        make(f"LIST {word}", "lists the patterns", list_all),
        make(f"ADD {word} <pattern>", "adds a pattern", add, listed=may),
        make(f"REMOVE {word} <pattern>", "removes a pattern", remove, listed=may),
        make(f"RESET {word}", "removes all patterns", reset, listed=may),
    ]


def filter_set(active: ObjectKind, active_context: type[ObjectContext], *, lists: bool = True) -> list[Command]:
    """FILTERSET, and the lists of patterns."""
    made = [
        make("LIST Filters", "lists everything", _filters),
        *object_commands(
            SCRIPT, "ScriptFilter", "ScriptFilters", ScriptFilterContext, owner_at(SCRIPT), required=("file",),
            columns=("name", "type", "file"), title="List of Script Filters:",
        ),
        *object_commands(
            active, "ActiveFilter", "ActiveFilters", active_context, owner_at(active), required=("filterName", "filterType"),
            columns=("priority", "filterName", "filterType"), title="List of Active Filters:",
        ),
    ]  # fmt: skip
    if lists:
        made += _pattern_commands("Whitelist", OBJECT_KINDS["whitelist"])
        made += _pattern_commands("Blacklist", OBJECT_KINDS["blacklist"])
    return made


class ServerFiltersContext(ServiceContext):
    """`<server-filters#>`."""

    name = "server-filters"
    title = "FILTERS"
    startable = False
    declaration = SERVICE_CONTEXTS["filters"]
    active_kind: ClassVar = ACTIVE

    def filter_place(self) -> Place:
        """The server's."""
        return Place("service", 0)

    @classmethod
    def extra_commands(cls) -> list[Command]:
        """All kinds of filters."""
        owner = owner_at(SOCKET)
        return [
            *super().extra_commands(),
            *filter_set(ACTIVE, ActiveFilterContext),
            *object_commands(
                SOCKET, "SocketFilter", "SocketFilters", SocketFilterContext, owner, required=("address", "protocolFile"),
                columns=("name", "address", "protocolFile"), title="List of Socket Filters:",
            ),
            *object_commands(
                INTEGRATED, "IntegratedFilter", "IntegratedFilters", IntegratedFilterContext, owner_at(INTEGRATED),
                required=("type", "command"), columns=("name", "type", "command"), title="List of Integrated Filters:",
            ),
        ]  # fmt: skip


class _OwnerFilters(AttributeContext):
    """Filters below another object: `scope` says of which."""

    scope: ClassVar[str] = ""
    scripts: ClassVar[tuple[str, ...]] = ()
    active_kind: ClassVar = ACCOUNT_ACTIVE

    def filter_place(self) -> Place:
        """Where they lie."""
        owner = self.domain_id if self.scope in ("domainConfig", "domain") else int(getattr(self.parent, "object_id", 0))
        return Place(self.scope, owner, "", self.domain_id)

    def place(self) -> Place:
        """For texts: the same, with a prefix of their own."""
        place = self.filter_place()
        return Place(place.scope, place.scope_id, "filters.", place.domain_id)

    def text_permission(self, name: str) -> str:
        """Scripts need what filters need."""
        return SCRIPT.permission_for(self.scope)


def _script_commands(names: tuple[str, ...]) -> list[Command]:
    made = []
    for name in names:
        may = functools.partial(_may_set_script, name)
        made.append(
            make(f"UPDATE {name} [<path>]", "sets the script that follows, or that of a file", _update_script(name), listed=may)
        )
        made.append(make(f"UPLOAD {name}", "", _update_script(name), hidden=True))
        made.append(make(f"SHOW {name} [<path>]", "shows the script", _show_script(name)))
    return made


def _may_set_script(name: str, context: AttributeContext) -> bool:
    return context.may_set_text(name)


def _update_script(name: str) -> Any:
    def handler(context: Any, arguments: Arguments) -> Result:
        if "path" in arguments:
            raise CommandError("scripts are sent as text; leave the path out")
        context.require_text_right(name)

        async def take(text: str) -> Reply | None:
            context.begin()
            context.keep_content(f"filters.{name}", text or None)
            return None

        context.session.take_text(take)
        return None

    return handler


def upload_command(kind: type[AttributeContext], name: str) -> Command:
    """UPLOAD of a script in the context above its filters: the old form of CONFIG Filters, UPDATE and DONE."""

    def handler(context: CliContext, arguments: Arguments) -> Result:
        filters = kind(context.session, context)
        filters.require_text_right(name)

        async def take(text: str) -> Reply | None:
            filters.begin()
            filters.keep_content(f"filters.{name}", text or None)
            context.pending.take(filters.pending)
            return None

        context.session.take_text(take)
        return None

    return make(f"UPLOAD {name}", "", handler, hidden=True)


def _show_script(name: str) -> Any:
    def handler(context: Any, arguments: Arguments) -> Result:
        return Reply(lines_of(context.content(f"filters.{name}") or ""))

    return handler


def _reset(context: Any, arguments: Arguments) -> Result:
    for kind in (SCRIPT, context.active_kind):
        owner = owner_at(kind)(context)
        context.session.actor.require(owner.permission, owner.place.domain_id)
        for row in objects_of(context, kind, owner):
            stage(context, kind, owner, row, None)
    return None


def _level(
    title: str, name: str, scope: str, base: type, *, scripts: tuple[str, ...] = (), lists: bool = True, presets: bool = False,
    more: tuple[Command, ...] = (),
) -> type[AttributeContext]:
    active, active_context = ACCOUNT_ACTIVE, AccountActiveFilterContext
    if scope == "domainConfig":
        active, active_context = ACTIVE, ActiveFilterContext  # type: ignore[assignment]
    own = [*filter_set(active, active_context, lists=lists), *_script_commands(scripts), *more]
    if presets:
        own += _preset_commands()

    def extra_commands(cls: type) -> list[Command]:
        found = [*super(made, cls).extra_commands(), *own]  # type: ignore[misc]
        if presets:
            return found
        return [entry for entry in found if entry.syntax.head[0] != "SET" and entry.syntax.head != ("SHOW",)]

    members: dict[str, object] = {
        "__doc__": f"`<{name}#>`.", "name": name, "title": title, "scope": scope, "active_kind": active,
        "extra_commands": classmethod(extra_commands),
    }  # fmt: skip
    if presets:
        members["specials"] = _propagate
    made: type[AttributeContext] = type(title.replace(" ", ""), (_OwnerFilters, base), members)
    return made


_TEMPLATE = DOMAIN_CONTEXTS["domainFilters"]


def _propagate(self: Any) -> tuple[Special, ...]:
    may = needs(_TEMPLATE.permission_for(_TEMPLATE.setting("propagateFilterTemplate")))
    return (Special("propagateFilterTemplate", "bool", _set_propagate, _get_propagate, allowed=may),)


def _set_propagate(context: Any, value: Word) -> None:
    setting = _TEMPLATE.setting("propagateFilterTemplate")
    place = place_of(_TEMPLATE, context.domain_id, context.domain_id)
    context.session.actor.require(_TEMPLATE.permission_for(setting), context.domain_id)
    context.pending.set_value(place, _TEMPLATE, setting, value.text)


def _get_propagate(context: Any) -> str:
    place = place_of(_TEMPLATE, context.domain_id, context.domain_id)
    waits, text = context.pending.value(place, "propagateFilterTemplate")
    if not waits:
        text = read_values(context.session.services.directory.database, place, _TEMPLATE).get("propagateFilterTemplate")
    return text or "no"


class PresetFilterContext(CommitForDoneContext, ObjectContext):
    """`<domain-filters-preset-filter#>`."""

    name = "domain-filters-preset-filter"
    title = "Preset Filter"
    kind = PRESET_FILTER


class PresetContext(ObjectContext, CommitContext):
    """`<domain-filters-preset#>`."""

    name = "domain-filters-preset"
    title = "Preset"
    kind = PRESET

    @classmethod
    def extra_commands(cls) -> list[Command]:
        """Its filters."""
        return [
            *super().extra_commands(),
            *object_commands(
                PRESET_FILTER, "Filter", "Filters", PresetFilterContext,
                lambda context: Owner(Place("object", context.object_id, "", context.domain_id), "manageDomainFilters"),
                columns=("name", "enabled"), title="The list of filters:",
            ),
        ]  # fmt: skip


def _preset_commands() -> list[Command]:
    owner = owner_at(PRESET)

    def remove_all(context: CliContext, arguments: Arguments) -> Result:
        for row in objects_of(context, PRESET, owner(context)):
            stage(context, PRESET, owner(context), row, None)
        return None

    return [
        *object_commands(PRESET, "Preset", "Presets", PresetContext, owner, columns=("name",), title="The list of presets:"),
        make("REMOVE Presets", "removes every preset", remove_all, listed=may_change(owner)),
        make("SHOW propagateFilterTemplate", "shows whether a changed template reaches the accounts there are", _show_propagate),
    ]


def _show_propagate(context: Any, arguments: Arguments) -> Result:
    return Reply([f"propagateFilterTemplate = {_get_propagate(context)}"])


_DOMAIN_SCRIPTS = ("WAFilter", "WMFilterTemplate")
DomainFiltersContext = _level(
    "FILTERS", "domain-filters", "domainConfig", CommitContext, scripts=_DOMAIN_SCRIPTS, presets=True
)
DefaultFiltersContext = _level(
    "accountDefaultFilters", "domain-accountDefaultFilters", "domain", DoneContext, scripts=_DOMAIN_SCRIPTS, presets=True
)
ClassFiltersContext = _level(
    "accountClass Filters", "domain-accountClass-filters", "class", DoneContext, lists=False,
    more=(make("RESET", "removes the filters of the class", _reset, listed=may_change(owner_at(SCRIPT))),),
)  # fmt: skip
AccountFiltersContext = _level(
    "account Filters", "domain-account-filters", "account", DoneContext, scripts=("WAFilter", "WMFilter")
)


def recipient_filters(name: str) -> type[AttributeContext]:
    """Filters of a group, list or folder recipient."""
    return _level("FILTERS", name, "recipient", DoneContext, lists=False)


def filters_command(kind: type[AttributeContext], word: str = "FILTERS") -> Command:
    """CONFIG FILTERS."""
    return make(f"CONFIG {word}", "enters the filters", enter(kind))
