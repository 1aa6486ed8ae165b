"""GETQUOTA and GETQUOTAROOT (RFC 9208): a root for each owner of mailboxes and each mailbox with a quota of its own.

Sizes are in units of 1024 octets.

Invariants: the root of one's own mailboxes is "", that of another's is the name under which his are seen ("Other
Users/bob"), that of a mailbox its name; nothing is told of owners of whom the session may read no mailbox.

Limits are the administrators', who do not log in here: SETQUOTA is refused, and QUOTASET not offered.
"""

from __future__ import annotations

from mailstead.imap.grammar import Arguments, BadSyntax
from mailstead.imap.responses import Refusal
from mailstead.imap.session import Session
from mailstead.mailbox.model import SEPARATOR, Quota
from mailstead.mailbox.names import canonical


async def _respond(session: Session, root: str, owner: int) -> None:
    mailbox = session.services.mailbox
    quota = await mailbox.quota(owner)
    resources = _resources(quota)
    if limit := mailbox.folder_limit(owner):
        resources.append(b"MAILBOX %d %d" % (len(await mailbox.folders(owner)), limit))
    session.untagged(b"QUOTA %b (%b)" % (_root_text(session, root), b" ".join(resources)))


def _resources(quota: Quota) -> list[bytes]:
    resources = []
    if quota.size_limit:
        resources.append(b"STORAGE %d %d" % ((quota.size + 1023) // 1024, quota.size_limit // 1024))
    if quota.messages_limit:
        resources.append(b"MESSAGE %d %d" % (quota.messages, quota.messages_limit))
    return resources


def _respond_folder(session: Session, name: str, quota: Quota) -> None:
    session.untagged(b"QUOTA %b (%b)" % (session.mailbox_text(name), b" ".join(_resources(quota))))


async def _own_quota(session: Session, name: str) -> tuple[str, Quota] | None:
    """Name and quota of a mailbox that the session may read and that has a quota of its own (QTA-01)."""
    mailbox = session.services.mailbox
    folder = await mailbox.folder(session.account_id, name)
    if folder is None or "r" not in folder.rights:
        return None
    quota = mailbox.folder_quota(folder)
    return (folder.name, quota) if quota is not None else None


def _root_text(session: Session, root: str) -> bytes:
    return session.mailbox_text(root) if root else b'""'


async def _owner_of_root(session: Session, root: str) -> int:
    """The account a root stands for. Raises Refusal."""
    if not root:
        return session.account_id
    mailbox = session.services.mailbox
    place = mailbox.place(session.account_id, canonical(root) + SEPARATOR + "INBOX")
    if place is not None and place.reader and place.prefix == root + SEPARATOR:
        for folder in await mailbox.visible(session.account_id):
            if folder.account == place.account and "r" in folder.rights:
                return place.account
    raise Refusal("No such quota root", "NONEXISTENT")


async def getquota(session: Session, arguments: Arguments) -> bytes:
    """Use and limits of a quota root."""
    arguments.space()
    root = session.folder_name(arguments.astring())
    arguments.end()
    own = await _own_quota(session, root) if root else None
    if own is not None:
        _respond_folder(session, *own)
    else:
        await _respond(session, root, await _owner_of_root(session, root))
    return b"OK GETQUOTA completed"


async def getquotaroot(session: Session, arguments: Arguments) -> bytes:
    """The quota root of a mailbox, which need not exist yet, and its use and limits."""
    arguments.space()
    name = session.folder_name(arguments.astring())
    arguments.end()
    mailbox = session.services.mailbox
    place = mailbox.place(session.account_id, canonical(name))
    root, owner = "", session.account_id
    if place is None or place.reader:
        folder = await mailbox.folder(session.account_id, name)
        if place is None or folder is None or "r" not in folder.rights:
            raise Refusal("No such mailbox", "NONEXISTENT")
        root, owner = place.prefix.removesuffix(SEPARATOR), place.account
    own = await _own_quota(session, name)
    more = b" " + session.mailbox_text(own[0]) if own is not None else b""
    session.untagged(b"QUOTAROOT %b %b%b" % (session.mailbox_text(name), _root_text(session, root), more))
    await _respond(session, root, owner)
    if own is not None:
        _respond_folder(session, *own)
    return b"OK GETQUOTAROOT completed"


async def setquota(session: Session, arguments: Arguments) -> bytes:
    """Refused: see above."""
    arguments.space()
    arguments.astring()
    arguments.space()
    arguments.expect(b"(")
    while not arguments.skip(b")"):
        arguments.keyword()
        arguments.space()
        arguments.number((1 << 63) - 1)
        if arguments.peek() not in (b" ", b")"):
            raise BadSyntax("Expected a list of limits")
        arguments.skip(b" ")
    arguments.end()
    raise Refusal("Only administrators change limits", "NOPERM")
