"""JSONQUERY: figures of all domains as JSON.

Invariants: an administrator gets the domains that it sees, and of those the mailboxes of kinds that it sees; the body is one JSON
document, in lines.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

from mailstead.admin_cli.context import DoneContext, Result, command
from mailstead.admin_cli.contexts.storage import Box, boxes
from mailstead.admin_cli.grammar import CommandError
from mailstead.admin_cli.responses import Reply
from mailstead.admin_cli.syntax import Arguments
from mailstead.admin_cli.visibility import ACCOUNTS, LISTS, PUBLIC_FOLDERS
from mailstead.directory.model import Domain

_PERMISSIONS = {"account": ACCOUNTS, "list": LISTS, "publicFolder": PUBLIC_FOLDERS}


class JsonQueryContext(DoneContext):
    """`<jsonquery#>`."""

    name = "jsonquery"
    title = "JSONQUERY"

    @command("QUERY <path>", "shows figures as JSON; the path is /domains")
    async def query(self, arguments: Arguments) -> Result:
        """QUERY /domains."""
        if arguments["path"].lower().rstrip("/") != "/domains":
            raise CommandError("the path is /domains")
        directory, actor = self.session.services.directory, self.session.actor
        domains = [domain for domain in await asyncio.to_thread(directory.domains) if actor.sees(domain.id)]
        held: dict[str, list[Box]] = {}
        # One look at the indexes serves all domains.
        for box in await boxes(self, domains[0].id if len(domains) == 1 else 0):
            held.setdefault(box.name.rpartition("@")[2], []).append(box)
        return Reply(await asyncio.to_thread(self._document, domains, held))

    def _document(self, domains: Sequence[Domain], held: Mapping[str, list[Box]]) -> list[str]:
        found = [self._figures(domain, held.get(domain.name, ())) for domain in domains]
        return [*json.dumps({"domains": found}, ensure_ascii=True, indent=1).splitlines(), ""]

    def _figures(self, domain: Domain, held: Sequence[Box]) -> dict[str, Any]:
        """Of the mailboxes that the administrator may see."""
        directory, actor = self.session.services.directory, self.session.actor
        own = [box for box in held if actor.may_any(_PERMISSIONS[box.kind], domain.id)]
        limits = directory.domain_settings(domain.id)
        accounts = {}
        if actor.may_any(ACCOUNTS, domain.id):
            accounts = {account.id: account for account in directory.accounts(domain.id)}
        return {
            "name": domain.name, "id": domain.id, "enabled": domain.enabled, "aliases": directory.domain_aliases(domain.id),
            "maxAccounts": limits.maxAccounts,
            "accounts": len(accounts), "mailingLists": sum(box.kind == "list" for box in own),
            "messages": sum(box.use.messages for box in own), "sizeOctets": sum(box.use.octets for box in own),
            "mailboxes": [
                {
                    "name": box.name, "type": box.kind, "messages": box.use.messages, "sizeOctets": box.use.octets,
                    "folders": box.use.folders,
                    **({
                        "enabled": accounts[box.id].enabled, "quotaOctets": accounts[box.id].quota_bytes,
                        "quotaMessages": accounts[box.id].quota_messages,
                    } if box.id in accounts else {}),
                }
                for box in own
            ],
        }  # fmt: skip
