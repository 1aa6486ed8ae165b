"""Message locations of a domain, and repairs of one that is disabled: commands of domain-create, subdomain-create and domain-edit.

Invariants: locations are kept and shown (DOM-02), mail lies in the store; they wait for the COMMIT of their context. A repair reads
the domain's mailboxes as a task of its own and puts their counters right; what else it finds is for `mailstead fsck`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mailstead.admin_cli.context import CliContext, Command, Handler, Result, make, needs
from mailstead.admin_cli.contexts.storage import owners_of
from mailstead.admin_cli.contexts.tasks import start, task_commands
from mailstead.admin_cli.grammar import CommandError
from mailstead.admin_cli.objects import Owner, object_commands, objects_of, stage
from mailstead.admin_cli.syntax import Arguments
from mailstead.settings.declaration import boolean, integer
from mailstead.settings.declarations import OBJECT_KINDS
from mailstead.settings.edits import Place
from mailstead.settings.objects import NamedObject, checked_attributes

MESSAGES = OBJECT_KINDS["messagesLocation"]
MOST_LOCATIONS = 255
_OPTIONS = {
    "maxfiles": integer("maxFiles", 0, 1, 2**31 - 1, ""),
    "maxfilesize": integer("maxFileSize", 0, 1, 2**42, ""),
    "readonly": boolean("readOnly", False, ""),
}


def check_location(text: str) -> None:
    """DOM-02: `[file://]path[?maxFiles=n&maxFileSize=n&readOnly=yes|no]`. Raises CommandError, InvalidValueError."""
    path, mark, options = text.removeprefix("file://").partition("?")
    if "://" in path or not path or any(sign < " " for sign in text):
        raise CommandError(f"{text[:80]!r} is no location: [file://]path[?maxFiles=n&maxFileSize=n&readOnly=yes|no]")
    for option in options.split("&") if mark else ():
        name, _, value = option.partition("=")
        setting = _OPTIONS.get(name.lower())
        if setting is None:
            raise CommandError(f"a location has no option {name[:80]!r}; expected one of maxFiles, maxFileSize, readOnly")
        setting.parse(value)


def _owner(context: Any) -> Owner:
    return Owner(Place("domainConfig", context.target_id, "", context.domain_id), context.location_permission)


def _bare(location: str) -> str:
    """A location without its scheme and options: what commands name it by."""
    return location.removeprefix("file://").partition("?")[0]


def _location(context: Any, path: str) -> NamedObject:
    found = objects_of(context, MESSAGES, _owner(context))
    for row in (*(one for one in found if one.name == path), *(one for one in found if _bare(one.name) == _bare(path))):
        return row
    raise CommandError(f"the message location {path[:80]} does not exist")


def _remove(context: Any, arguments: Arguments) -> Result:
    stage(context, MESSAGES, _owner(context), _location(context, arguments["path"]), None)
    return None


def _update(context: Any, arguments: Arguments) -> Result:
    found = _location(context, arguments["path"])
    check_location(arguments["newunitlocationuri"])
    attributes = checked_attributes(MESSAGES, {"path": arguments["newunitlocationuri"]})
    rows = objects_of(context, MESSAGES, _owner(context))
    if any(row.key == MESSAGES.key_of(attributes["path"]) and row.id != found.id for row in rows):
        raise CommandError(f"the message location {attributes['path'][:80]} already exists")
    stage(context, MESSAGES, _owner(context), found, attributes)
    return None


def _checking(add: Handler) -> Handler:
    """ADD MessagesLocation, of one that can be one."""

    def handler(context: Any, arguments: Arguments) -> Any:
        check_location(arguments[MESSAGES.key.lower()])
        if len(objects_of(context, MESSAGES, _owner(context))) >= MOST_LOCATIONS:
            raise CommandError(f"a domain has at most {MOST_LOCATIONS} message locations")
        return add(context, arguments)

    return handler


def location_commands(*, change: bool = False) -> list[Command]:
    """LIST, ADD and REMOVE MessagesLocation; UPDATE where there are some already (`change`)."""
    made = [
        entry if entry.syntax.head[0] == "LIST" else replace(entry, handler=_checking(entry.handler))
        for entry in object_commands(
            MESSAGES, "MessagesLocation", "MessagesLocations", None, _owner, key_word=False, title="The list of message locations:"
        )
        if entry.syntax.head[0] in ("LIST", "ADD")
    ]
    made.append(make("REMOVE MessagesLocation <path>", "removes one", _remove))
    if change:
        made.append(make("UPDATE MessagesLocation <path> <newUnitLocationURI>", "changes one", _update))
    return made


def _repair(kinds: tuple[str, ...]) -> Any:
    async def handler(context: CliContext, arguments: Arguments) -> Result:
        if arguments.flags & {"reset", "resetflags"}:
            raise CommandError("nothing is reset beside a running server; `mailstead fsck --repair` puts right what REPAIR finds")
        found = await owners_of(context, context.domain_id)
        rows = [[owner, shard, name] for owner, shard, name, kind in found if kind in kinds or not kinds]
        return await start(context, "repair", owners=rows, verbose=True, purge=False)

    return handler


def repair_commands() -> list[Command]:
    """REPAIR of a disabled domain (section 6, domain-edit)."""
    allowed = needs("manageDomainStorage")
    return [
        make("REPAIR domainContainer [forced|reset]", "looks through all mailboxes of the domain", _repair(()), allowed=allowed),
        make("REPAIR publicContainer [forced|reset|resetFlags]", "looks through the public folders", _repair(("publicFolder",)),
             allowed=allowed),
        *task_commands("REPAIR", "repair", allowed),
    ]  # fmt: skip
