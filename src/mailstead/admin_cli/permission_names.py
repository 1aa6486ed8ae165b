"""Names of permissions in the contexts that give them (ADM-01): as they are said, and as HELP lists them.

Invariants: HELP has the names that the administrator may give, where it is given a word: they are too many for HELP alone.
"""

from __future__ import annotations

from collections.abc import Iterable

from mailstead.admin_cli.context import CliContext, anywhere
from mailstead.admin_cli.grammar import CommandError
from mailstead.settings.actor import Actor, PermissionDeniedError
from mailstead.settings.edits import Step
from mailstead.settings.permissions import DOMAIN_PERMISSIONS, SERVER_FORM, SERVER_PERMISSIONS, canonical

HINT = "HELP permission lists their names"
_DOMAIN_FORM = {server: domain for domain, server in SERVER_FORM.items()}


def permission_steps(context: CliContext, holder: str, names: Iterable[str], domain: str | None, effect: str) -> list[Step]:
    """The steps that GRANT (`effect` grant), DENY (deny) or REVOKE (empty) permissions. Raises CommandError for an unknown name,
    and what Directory.permission_change does."""
    directory, actor = context.session.services.directory, context.session.actor
    steps = []
    for name in names:
        try:
            known = canonical(name, domain=domain is not None)
        except ValueError as error:
            raise CommandError(f"{error}; {HINT}") from error
        steps.append(directory.permission_change(holder, known, domain, effect, actor=actor))
    return steps


def domain_lines(context: CliContext, rest: str) -> list[str]:
    """Lines of HELP with the permissions that may be given on a domain: the context's, or any; `rest` is what follows them."""
    names = sorted(DOMAIN_PERMISSIONS, key=str.lower)
    if context.domain_id:
        given = [name for name in names if context.session.actor.may(name, context.domain_id)]
    else:
        given = [name for name in names if anywhere(name)(context)]
    return [f"GRANT permission ({name}) {rest}" for name in given]


def server_lines(context: CliContext, rest: str = "") -> list[str]:
    """The same with those of the server."""
    lines = []
    for name in sorted(SERVER_PERMISSIONS, key=str.lower):
        if _may_give(context.session.actor, name):
            meaning = f" - {_DOMAIN_FORM[name]} on every domain" if name in _DOMAIN_FORM else ""
            lines.append(f"GRANT permission ({name}){rest}{meaning}")
    return lines


def _may_give(actor: Actor, name: str) -> bool:
    try:
        actor.require_giving(name)
    except PermissionDeniedError:
        return False
    return True
