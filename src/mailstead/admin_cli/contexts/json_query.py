"""JSONQUERY: figures of all domains as JSON.

Invariants: an administrator gets the domains that it sees; the body is one JSON document, in lines.
"""

from __future__ import annotations

import json
from typing import Any

from mailstead.admin_cli.context import DoneContext, Result, command
from mailstead.admin_cli.contexts.storage import boxes
from mailstead.admin_cli.grammar import CommandError
from mailstead.admin_cli.responses import Reply
from mailstead.admin_cli.syntax import Arguments


class JsonQueryContext(DoneContext):
    """`<jsonquery#>`."""

    name = "jsonquery"
    title = "JSONQUERY"

    @command("QUERY <path>", "shows figures as JSON; the path is /domains")
    async def query(self, arguments: Arguments) -> Result:
        """QUERY /domains."""
        if arguments["path"].lower().rstrip("/") != "/domains":
            raise CommandError("the path is /domains")
        domains = await self._domains()
        return Reply([*json.dumps({"domains": domains}, ensure_ascii=True, indent=1).splitlines(), ""])

    async def _domains(self) -> list[dict[str, Any]]:
        directory, actor = self.session.services.directory, self.session.actor
        found = []
        for domain in directory.domains():
            if not actor.sees(domain.id):
                continue
            own = await boxes(self, domain.id)
            limits = directory.domain_settings(domain.id)
            accounts = {account.id: account for account in directory.accounts(domain.id)}
            found.append({
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
            })  # fmt: skip
        return found
