"""Taking back a change of rights in a public folder that the history has (PUB-01).

Invariants: as `directory.reverting`: what is taken back leaves an entry of its own, and a later change is not undone by accident.
The folder is the one the rights were changed in, whatever it is called now.
"""

from __future__ import annotations

from mailstead.directory.reverting import RevertError, refuse_later
from mailstead.directory.service import Directory
from mailstead.mailbox.errors import FolderMissing, LimitReached
from mailstead.mailbox.service import Mailbox
from mailstead.settings.actor import Actor
from mailstead.settings.history import HistoryEntry


async def revert_rights(
    mailbox: Mailbox, directory: Directory, found: HistoryEntry, *, actor: Actor, force: bool = False
) -> tuple[int, int]:
    """Take back a change of rights (`HistoryEntry.is_rights`); the range (from, to] of history rows this wrote.

    Raises RevertError, PermissionDeniedError, StoreUnavailable; then nothing was changed.
    """
    old, new = found.old or {}, found.new or {}
    domain = directory.domain(found.object_id)
    if domain is None:
        raise RevertError("its domain does not exist any more")
    actor.require("managePublicFolder", domain.id)
    if not force:
        refuse_later(directory.database, found)
    folder, identifier, rights = int(old["folderId"]), str(old["identifier"]), old["rights"]
    if rights and directory.identifier_text(domain.id, identifier) is None:
        raise RevertError(f"{old['who']} is not here any more")
    first = directory.database.position()
    try:
        if not force and await mailbox.own_entry(domain.id, folder, identifier) != new["rights"]:
            raise RevertError("the rights are others by now than this change left; look at them, then use force")
        await mailbox.restore_entry(domain.id, folder, identifier, rights, author=actor.name)
    except FolderMissing as error:
        raise RevertError(f"the folder {new.get('folder')} does not exist any more") from error
    except LimitReached as error:
        raise RevertError(str(error)) from error
    return first, directory.database.position()
