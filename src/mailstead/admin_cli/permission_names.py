"""Names of permissions in the contexts that give them (ADM-01): as they are said, and as HELP lists them.

Invariants: HELP has the names that the administrator may give, with what they are for, where it is given a word: they are too
many for HELP alone.
"""

from __future__ import annotations

from collections.abc import Iterable

from mailstead.admin_cli.context import CliContext, anywhere
from mailstead.admin_cli.grammar import CommandError
from mailstead.directory.admins import PermissionChange
from mailstead.directory.model import UnknownPermissionError
from mailstead.settings.actor import Actor, PermissionDeniedError
from mailstead.settings.permissions import DOMAIN_PERMISSIONS, SERVER_PERMISSIONS, meaning

HINT = "HELP permission lists their names"


def permission_changes(
    context: CliContext, holder: str, names: Iterable[str], domain: str | None, effect: str
) -> list[PermissionChange]:
    """What GRANT (`effect` grant), DENY (deny) or REVOKE (empty) makes of permissions. Raises CommandError for an unknown name,
    and what Directory.permission_change does."""
    directory, actor = context.session.services.directory, context.session.actor
    try:
        return [directory.permission_change(holder, name, domain, effect, actor=actor) for name in names]
    except UnknownPermissionError as error:
        raise CommandError(f"{error}; {HINT}") from error


def domain_lines(context: CliContext, rest: str) -> list[str]:
    """Lines of HELP with the permissions that may be given on a domain: the context's, or any; `rest` is what follows them."""
    names = sorted(DOMAIN_PERMISSIONS, key=str.lower)
    if context.domain_id:
        given = [name for name in names if context.session.actor.may(name, context.domain_id)]
    else:
        given = [name for name in names if anywhere(name)(context)]
    return [f"GRANT permission ({name}) {rest} - {meaning(name)}" for name in given]


def server_lines(context: CliContext, rest: str = "") -> list[str]:
    """The same with those of the server."""
    given = [name for name in sorted(SERVER_PERMISSIONS, key=str.lower) if _may_give(context.session.actor, name)]
    return [f"GRANT permission ({name}){rest} - {meaning(name)}" for name in given]


def _may_give(actor: Actor, name: str) -> bool:
    try:
        actor.require_giving(name)
    except PermissionDeniedError:
        return False
    return True
