"""EXPUNGE and UID EXPUNGE (RFC 9051 sections 6.4.3, 6.4.9): what was removed is told as news before the reply."""

from __future__ import annotations

from collections.abc import Sequence

from mailstead.imap import progress, sequence_set
from mailstead.imap.grammar import Arguments
from mailstead.imap.session import Session


async def _expunge(session: Session, uids: Sequence[int] | None, code: bytes = b"") -> bytes:
    selected = session.writable()
    gone = await session.services.mailbox.expunge(selected.view, uids, origin=selected)
    if session.qresync and gone:
        await session.tell_news(allow_expunge=True)
        if code:
            return b"OK %bEXPUNGE completed" % code
        return b"OK [HIGHESTMODSEQ %d] EXPUNGE completed" % selected.view.highest_modseq
    return b"OK %bEXPUNGE completed" % code


async def expunge(session: Session, arguments: Arguments) -> bytes:
    """Remove the messages marked \\Deleted."""
    arguments.end()
    return await _expunge(session, None)


async def uid_expunge(session: Session, arguments: Arguments) -> bytes:
    """Remove those of a set of UIDs that are marked \\Deleted."""
    arguments.space()
    octets = arguments.sequence_set()
    arguments.end()
    selected = session.writable()
    ranges, code = progress.limited(selected.resolve(octets, by_uid=True), selected.uids)
    return await _expunge(session, sequence_set.uids_of(ranges, selected.uids), code)
