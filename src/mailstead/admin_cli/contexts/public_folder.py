"""Public folders (PUB-01): `<domain-public-folder#>`, `<domain-public-folder-quotas#>`.

Invariants: folders are made and removed at once, by the mailbox service; the name and the quotas wait for COMMIT.
"""

from __future__ import annotations

from mailstead.admin_cli.attributes import AttributeContext
from mailstead.admin_cli.context import Command, CommitContext, DoneContext, Result, command, make, needs
from mailstead.admin_cli.contexts.domain_parts import DomainPartContext
from mailstead.admin_cli.contexts.index_information import owner_commands, public_metadata_commands
from mailstead.admin_cli.contexts.mbox_quotas import mbox_quota_commands
from mailstead.admin_cli.grammar import CommandError
from mailstead.admin_cli.responses import table
from mailstead.admin_cli.syntax import Arguments
from mailstead.settings.declarations import DOMAIN_CONTEXTS

KINDS = {"mail": "mail", "events": "calendar", "tasks": "tasks", "journal": "journal", "notes": "notes", "contacts": "contacts"}
"""Types as the protocol has them, and the kinds of folders they are."""


class PublicFolderContext(DomainPartContext, CommitContext):
    """The public folders of a domain."""

    name = "domain-public-folder"
    title = "PUBLIC-FOLDER"
    declaration = DOMAIN_CONTEXTS["publicFolder"]

    @command("LIST MBoxes [details]", "lists the public folders")
    async def list_mboxes(self, arguments: Arguments) -> Result:
        """LIST MBoxes: names, with `details` their type and size."""
        services = self.session.services
        owner = services.directory.owner(self.domain_id)
        rows = services.store.mail_index(owner.shard).folders(self.domain_id) if owner is not None else []
        words = {kind: word for word, kind in KINDS.items()}
        found = sorted((row[1], words.get(row[5], row[5])) for row in rows)
        if "details" in arguments.flags:
            return table("The list of public folders:", ("name", "type"), found)
        return table("The list of public folders:", ("name",), ((name,) for name, _ in found))

    @command("ADD Mbox <name> [type <type>]", "adds a public folder", allowed=needs("createPublicFolder"))
    async def add_mbox(self, arguments: Arguments) -> Result:
        """ADD Mbox: at once."""
        self.session.actor.require("createPublicFolder", self.domain_id)
        kind = KINDS.get(arguments.get("type", "mail").lower())
        if kind is None:
            raise CommandError(f"type: expected one of {', '.join(KINDS)}")
        await self.session.services.mailbox.create_folder(self.domain_id, arguments["name"], kind=kind)
        return None

    @command("REMOVE Mbox <name>", "removes a public folder", allowed=needs("removePublicFolder"))
    async def remove_mbox(self, arguments: Arguments) -> Result:
        """REMOVE Mbox: at once; it can be brought back within the retention time."""
        self.session.actor.require("removePublicFolder", self.domain_id)
        await self.session.services.mailbox.delete_folder(self.domain_id, arguments["name"])
        return None

    @classmethod
    def extra_commands(cls) -> list[Command]:
        """CONFIG QUOTAS."""
        return [
            *super().extra_commands(),
            *owner_commands(lambda context: int(context.domain_id), conversations=False),
            *public_metadata_commands(needs("managePublicFolder")),
            make("CONFIG QUOTAS", "enters their quotas", _quotas, allowed=needs("managePublicFoldersQuotas")),
        ]


class PublicFolderQuotasContext(DomainPartContext, DoneContext):
    """Their quotas."""

    name = "domain-public-folder-quotas"
    title = "PUBLIC-FOLDER QUOTAS"
    declaration = DOMAIN_CONTEXTS["publicFolderQuotas"]
    bounded = True

    @classmethod
    def extra_commands(cls) -> list[Command]:
        """Quotas of single folders."""
        return [*super().extra_commands(), *mbox_quota_commands("domainConfig")]


def _quotas(context: AttributeContext, arguments: Arguments) -> Result:
    context.session.enter(PublicFolderQuotasContext(context.session, context))
    return None
