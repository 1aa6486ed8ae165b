"""LIST MEMBERSHIP: the groups and lists an address is a member of."""

from __future__ import annotations

from typing import Any

from mailstead.admin_cli.context import Command, Result, make
from mailstead.admin_cli.responses import table
from mailstead.admin_cli.syntax import Arguments


def membership_command() -> Command:
    """For contexts that have `address`."""
    return make(
        "LIST MEMBERSHIP [noGroups] [noLists] [sameDomain] [directReference]", "lists the groups and lists it is in", _list
    )


def _list(context: Any, arguments: Arguments) -> Result:
    found = context.session.services.directory.memberships(
        context.address,
        no_groups="nogroups" in arguments.flags,
        no_lists="nolists" in arguments.flags,
        same_domain="samedomain" in arguments.flags,
        direct="directreference" in arguments.flags,
    )
    actor = context.session.actor
    rows = [(row.address, row.kind.value) for row in found if actor.sees(row.domain_id)]
    return table("The list of memberships:", ("address", "type"), rows)
