"""SELECT and EXAMINE (RFC 9051 sections 6.3.2, 6.3.3; CONDSTORE and QRESYNC of RFC 7162)."""

from __future__ import annotations

from dataclasses import dataclass

from mailstead.imap import fetch_items, news, sequence_set, vanished
from mailstead.imap.commands.listing import list_line
from mailstead.imap.grammar import Arguments, BadSyntax
from mailstead.imap.render import BLOCK
from mailstead.imap.responses import Refusal
from mailstead.imap.selected import Selected
from mailstead.imap.session import Session

MAX_MODSEQ = (1 << 63) - 1
_CHANGES = fetch_items.FetchList((fetch_items.UID, fetch_items.FLAGS, fetch_items.MODSEQ), ())
_UID_CHANGES = fetch_items.FetchList((fetch_items.FLAGS, fetch_items.MODSEQ), (), uid_only=True)


@dataclass(slots=True)
class Resync:
    """The QRESYNC parameter (RFC 7162 section 3.2.5)."""

    uidvalidity: int
    modseq: int
    known: tuple[tuple[int, int], ...] | None = None
    match: tuple[list[int], list[int]] | None = None


def _numbers(octets: bytes) -> list[int]:
    """A set without "*" as a list of at most some thousand numbers."""
    out: list[int] = []
    for low, high in sequence_set.parse(octets):
        if sequence_set.STAR in (low, high) or abs(high - low) + len(out) > 10000:
            raise BadSyntax("Invalid sequence match data")
        out += range(min(low, high), max(low, high) + 1)
    return out


def _resync(arguments: Arguments) -> Resync:
    arguments.space()
    arguments.expect(b"(")
    found = Resync(arguments.number(), 0)
    arguments.space()
    found.modseq = arguments.number(MAX_MODSEQ)
    if arguments.skip(b" ("):
        arguments.pos -= 2
    elif arguments.skip(b" "):
        found.known = sequence_set.parse(arguments.sequence_set())
    if arguments.skip(b" ("):
        numbers = _numbers(arguments.sequence_set())
        arguments.space()
        uids = _numbers(arguments.sequence_set())
        arguments.expect(b")")
        if len(numbers) != len(uids):
            raise BadSyntax("Invalid sequence match data")
        found.match = (numbers, uids)
    arguments.expect(b")")
    return found


def _parameters(session: Session, arguments: Arguments) -> Resync | None:
    resync = None
    if arguments.at_end():
        return None
    arguments.space()
    arguments.expect(b"(")
    while True:
        name = arguments.keyword()
        if name == b"CONDSTORE":
            session.condstore = True
        elif name == b"QRESYNC":
            if not session.qresync:
                raise BadSyntax("Enable QRESYNC first")
            resync = _resync(arguments)
            if resync.match is not None and session.uidonly:
                raise BadSyntax("[UIDREQUIRED] Message numbers are not used after ENABLE UIDONLY")
        else:
            raise BadSyntax("Unknown SELECT parameter")
        if arguments.skip(b")"):
            arguments.end()
            return resync
        arguments.space()


def _floor(resync: Resync, selected: Selected) -> int:
    """The UID up to which the client's map equals ours, by its sequence match data."""
    floor = 0
    for number, uid in zip(*(resync.match or ((), ())), strict=True):
        if number <= selected.count and selected.uids[number - 1] == uid:
            floor = max(floor, uid)
    return floor


async def _report_changes(session: Session, selected: Selected, resync: Resync) -> None:
    """VANISHED (EARLIER) and changed flags since the client's modseq, if its UIDVALIDITY is still good.

    What vanished is told even to a client that has our HIGHESTMODSEQ: it may have that of a change of flags, told by a
    command that had to keep an earlier expunge to itself.
    """
    view = selected.view
    if resync.uidvalidity != selected.folder.uidvalidity:
        return
    known = resync.known or ((1, max(view.uidnext - 1, 1)),)
    gone = vanished.missing(known, selected.uids, selected.count, view.uidnext, _floor(resync, selected))
    if gone:
        session.untagged(b"VANISHED (EARLIER) " + gone)
    if resync.modseq >= view.highest_modseq:
        return
    inside = sequence_set.by_uid(known, selected.uids, selected.count)
    positions = [at for start, end in inside for at in range(start, end) if view.modseqs[at] > resync.modseq]
    items = _UID_CHANGES if session.uidonly else _CHANGES
    for start in range(0, len(positions), BLOCK):
        session.emit(session.services.renderer.positions(view, items, positions[start : start + BLOCK]))


async def _open(session: Session, arguments: Arguments, read_only: bool) -> bytes:
    arguments.space()
    octets = arguments.astring()
    # A failed SELECT leaves nothing selected, too (RFC 9051 section 6.3.2).
    if session.selected is not None:
        session.deselect()
        session.untagged(b"OK [CLOSED] Previous mailbox closed")
    resync = _parameters(session, arguments)
    name = session.folder_name(octets)
    mailbox = session.services.mailbox
    folder = await mailbox.folder(session.account_id, name)
    if folder is None:
        raise Refusal("No such mailbox", "NONEXISTENT")
    view = await mailbox.open(folder, whole=False)
    # RFC 4314 section 5.2: without any right to change something the mailbox is read-only.
    read_only = read_only or not set("steiwp") & set(folder.rights)
    try:
        if resync is not None:
            await view.filled()
        await view.refresh()
        while not view.is_durable:
            await view.durable()
    except BaseException:
        view.release()
        raise
    selected = Selected(folder, view, read_only)
    if session.logged_out:
        selected.release()
        return b"NO Connection closed"
    session.selected = selected
    _describe(session, selected)
    if resync is not None:
        await _report_changes(session, selected, resync)
    return b"OK [READ-ONLY] EXAMINE completed" if read_only else b"OK [READ-WRITE] SELECT completed"


def _describe(session: Session, selected: Selected) -> None:
    view = selected.view
    news.write_flags(session, selected)
    session.untagged(b"%d EXISTS" % selected.count)
    if not session.rev2:
        session.untagged(b"0 RECENT")
        unseen = session.services.renderer.first_unseen(view) if view.is_filled else 0
        if unseen and not session.uidonly:
            session.untagged(b"OK [UNSEEN %d] First unseen" % unseen)
    else:
        session.untagged(list_line(session, selected.folder))
    session.emit(
        b"* OK [UIDVALIDITY %d] UIDs valid\r\n* OK [UIDNEXT %d] Predicted next UID\r\n"
        b"* OK [HIGHESTMODSEQ %d] Highest\r\n* OK [MAILBOXID (F%d)] Id of the mailbox\r\n"
        b"* OK [URLMECH INTERNAL] Mechanism of URLAUTH\r\n"
        % (selected.folder.uidvalidity, view.uidnext, view.highest_modseq, selected.folder.id)
    )


async def select(session: Session, arguments: Arguments) -> bytes:
    """Open a mailbox for reading and writing."""
    return await _open(session, arguments, read_only=False)


async def examine(session: Session, arguments: Arguments) -> bytes:
    """Open a mailbox for reading."""
    return await _open(session, arguments, read_only=True)
