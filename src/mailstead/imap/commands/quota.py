"""GETQUOTA and GETQUOTAROOT (RFC 9208): one root per account, sizes in units of 1024 octets."""

from __future__ import annotations

from mailstead.imap.grammar import Arguments
from mailstead.imap.responses import Refusal
from mailstead.imap.session import Session

ROOT = b'""'


async def _respond(session: Session) -> None:
    quota = await session.services.mailbox.quota(session.account_id)
    resources = []
    if quota.size_limit:
        resources.append(b"STORAGE %d %d" % ((quota.size + 1023) // 1024, quota.size_limit // 1024))
    if quota.messages_limit:
        resources.append(b"MESSAGE %d %d" % (quota.messages, quota.messages_limit))
    session.untagged(b"QUOTA %b (%b)" % (ROOT, b" ".join(resources)))


async def getquota(session: Session, arguments: Arguments) -> bytes:
    """Use and limits of a quota root."""
    arguments.space()
    root = arguments.astring()
    arguments.end()
    if root:
        raise Refusal("No such quota root", "NONEXISTENT")
    await _respond(session)
    return b"OK GETQUOTA completed"


async def getquotaroot(session: Session, arguments: Arguments) -> bytes:
    """The quota root of a mailbox, and its use and limits."""
    arguments.space()
    name = session.folder_name(arguments.astring())
    arguments.end()
    session.untagged(b"QUOTAROOT %b %b" % (session.mailbox_text(name), ROOT))
    await _respond(session)
    return b"OK GETQUOTAROOT completed"
