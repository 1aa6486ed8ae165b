"""COPY and MOVE, by number and by UID (RFC 9051 sections 6.4.7, 6.4.8), whole or absent."""

from __future__ import annotations

from mailstead.imap import progress, sequence_set
from mailstead.imap.grammar import Arguments
from mailstead.imap.responses import Refusal
from mailstead.imap.session import Session
from mailstead.mailbox.model import CopyResult, Folder


async def _prepare(session: Session, arguments: Arguments, by_uid: bool) -> tuple[list[int], Folder, bool]:
    """UIDs, target, and whether all messages asked for are still there."""
    arguments.space()
    octets = arguments.sequence_set()
    arguments.space()
    name = session.folder_name(arguments.astring())
    arguments.end()
    selected = session.mailbox
    ranges = selected.resolve(octets, by_uid)
    progress.refuse_many(ranges)
    uids = sequence_set.uids_of(ranges, selected.uids)
    target = await session.services.mailbox.folder(session.account_id, name)
    if target is None:
        raise Refusal("No such mailbox", "TRYCREATE")
    await selected.view.refresh()  # another process may have expunged some
    if not selected.current:
        there = [uid for uid in uids if selected.view.index(uid) >= 0]
        if len(there) < len(uids) and not by_uid:
            raise Refusal("Some of the messages no longer exist", "EXPUNGEISSUED")
        uids = there
    return uids, target, bool(uids)


def _code(result: CopyResult) -> bytes:
    return b"COPYUID %d %b %b" % (
        result.uidvalidity, sequence_set.compact(result.source_uids), sequence_set.compact(result.target_uids),
    )  # fmt: skip


async def _copy(session: Session, arguments: Arguments, by_uid: bool) -> bytes:
    uids, target, any_there = await _prepare(session, arguments, by_uid)
    if not any_there:
        return b"OK No messages copied"
    selected = session.mailbox
    with progress.Progress(session):
        result = await session.services.mailbox.copy(selected.view, uids, target, origin=selected)
    if not result.source_uids:
        return b"OK No messages copied"
    return b"OK [" + _code(result) + b"] COPY completed"


async def _move(session: Session, arguments: Arguments, by_uid: bool) -> bytes:
    session.writable()
    uids, target, any_there = await _prepare(session, arguments, by_uid)
    if not any_there:
        return b"OK No messages moved"
    selected = session.mailbox
    with progress.Progress(session):
        result = await session.services.mailbox.move(selected.view, uids, target, origin=selected)
    if not result.source_uids:
        return b"OK No messages moved"
    session.untagged(b"OK [" + _code(result) + b"] Moved UIDs")
    await session.tell_news(allow_expunge=True)
    if session.qresync:
        return b"OK [HIGHESTMODSEQ %d] MOVE completed" % selected.view.highest_modseq
    return b"OK MOVE completed"


async def copy(session: Session, arguments: Arguments) -> bytes:
    """Copy messages by number."""
    return await _copy(session, arguments, by_uid=False)


async def uid_copy(session: Session, arguments: Arguments) -> bytes:
    """Copy messages by UID."""
    return await _copy(session, arguments, by_uid=True)


async def move(session: Session, arguments: Arguments) -> bytes:
    """Move messages by number."""
    return await _move(session, arguments, by_uid=False)


async def uid_move(session: Session, arguments: Arguments) -> bytes:
    """Move messages by UID."""
    return await _move(session, arguments, by_uid=True)
