"""What an owner has beside messages, as a document (JSON): folders with their use, subscriptions, scripts, rights, notes.

Invariants: identifiers are in words, so that it fits another server; what comes in is checked by the verbs that take it; what is
there is not changed.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any

from mailstead.directory.service import Directory
from mailstead.mailbox.errors import FolderExists, MailboxError
from mailstead.mailbox.service import Mailbox
from mailstead.restoring.documents import FORMAT, MAX_OCTETS, BadDocument
from mailstead.sieve.grammar import SieveError
from mailstead.store.service import Store

MOST = 20_000


async def mailbox_document(mailbox: Mailbox, store: Store, directory: Directory, owner: int, shard: int) -> bytes:
    """The document of an owner's mailbox."""
    folders = await mailbox.folders(owner)
    names = {folder.id: folder.name for folder in folders} | {0: ""}
    sharing = store.sharing(shard)
    rights = [
        [name, words, given]
        for name, identifier, given in sharing.acl(owner)
        if (words := directory.identifier_text(owner, identifier)) is not None
    ]
    notes = [
        [names[folder], entry, base64.b64encode(value).decode()]
        for folder, reader, entry, value in sharing.notes(owner)
        if folder in names and reader in (0, owner)
    ]
    scripts = [[name, store.mail_index(shard).script(owner, name), on] for name, _, on in await mailbox.scripts(owner)]
    table = {
        "format": FORMAT,
        "kind": "mailbox",
        "folders": [[one.name, one.special_use, one.kind] for one in folders],
        "subscriptions": await mailbox.subscriptions(owner),
        "scripts": scripts,
        "rights": rights,
        "notes": notes,
    }
    return json.dumps(table, ensure_ascii=False, indent=1, sort_keys=True).encode()


@dataclass(frozen=True, slots=True)
class Right:
    """A right that somebody is to have in a folder of an owner ("" for all of them); ``who`` in words."""

    owner: int
    folder: str
    who: str
    given: str


async def give(mailbox: Mailbox, directory: Directory, right: Right) -> bool:
    """Give a right; False while nobody here is called that. Raises MailboxError."""
    if directory.identifier(right.owner, right.who) is None:
        return False
    await mailbox.set_acl(right.owner, right.folder, right.who, "set", right.given, whole=True, author="restore")
    return True


async def bring_mailbox(
    mailbox: Mailbox, store: Store, directory: Directory, owner: int, shard: int, octets: bytes, waiting: list[Right]
) -> list[str]:
    """Make what an owner lacks of a document; returns in words what could not be. Rights of who is not here (yet) go to
    ``waiting``. Raises BadDocument, MailboxError."""
    table = _read(octets)
    said: list[str] = []
    have = {folder.name: folder for folder in await mailbox.folders(owner)}
    uses = {folder.special_use for folder in have.values()}
    for name, use, kind in table["folders"]:
        if name not in have:
            try:
                have[name] = await mailbox.create_folder(owner, name, use if use not in uses else None, kind)
            except FolderExists:
                continue
            except MailboxError as error:
                said.append(f"folder {name[:80]}: {error}")
    subscribed = set(await mailbox.subscriptions(owner))
    for name in table["subscriptions"]:
        if name not in subscribed:
            await mailbox.set_subscribed(owner, name, True)
    present = await mailbox.scripts(owner)
    active = any(on for _, _, on in present)
    for name, text, on in table["scripts"]:
        if any(known == name for known, _, _ in present):
            continue
        try:
            await mailbox.put_script(owner, name, text)
            if on and not active:
                await mailbox.activate_script(owner, name)
        except (SieveError, MailboxError) as error:
            said.append(f"script {name[:80]}: {error}")
    own = store.sharing(shard).acl(owner)
    entries = {(folder, directory.identifier_text(owner, identifier)) for folder, identifier, _ in own}
    for name, words, given in table["rights"]:
        if (name, words) in entries:
            continue
        right = Right(owner, name, words, given)
        try:
            if not await give(mailbox, directory, right):
                waiting.append(right)
        except (MailboxError, ValueError) as error:
            said.append(f"rights of {words[:80]}: {error}")
    ids = {folder.id: folder.name for folder in have.values()} | {0: ""}
    noted = {(ids.get(folder), entry) for folder, _, entry, _ in store.sharing(shard).notes(owner)}
    for name, entry, value in table["notes"]:
        if (name, entry) in noted or (name and name not in have):
            continue
        try:
            await mailbox.set_metadata(owner, have[name] if name else None, {entry: base64.b64decode(value, validate=True)})
        except (MailboxError, ValueError) as error:
            said.append(f"note {entry[:80]}: {error}")
    return said


def _read(octets: bytes) -> dict[str, list[Any]]:
    """The lists of a document, of the right shapes. Raises BadDocument."""
    if len(octets) > MAX_OCTETS:
        raise BadDocument("the document is too large")
    try:
        table = json.loads(octets)
    except (ValueError, RecursionError):
        raise BadDocument("it is no JSON") from None
    if not isinstance(table, dict) or table.get("kind") != "mailbox" or table.get("format") != FORMAT:
        raise BadDocument("it is no document of kind mailbox")
    shapes = {"folders": (str, str | None, str), "scripts": (str, str, bool), "rights": (str, str, str), "notes": (str, str, str)}
    for name in ("subscriptions", *shapes):
        rows = table.get(name)
        if not isinstance(rows, list) or len(rows) > MOST:
            raise BadDocument(f"{name}: not a list, or too long")
        shape = shapes.get(name)
        for row in rows:
            parts, wanted = ([row], (str,)) if shape is None else (row, shape)
            if not isinstance(parts, list) or len(parts) != len(wanted):
                raise BadDocument(f"{name}: damaged")
            if not all(isinstance(part, kind) for part, kind in zip(parts, wanted, strict=True)):
                raise BadDocument(f"{name}: damaged")
    return table
