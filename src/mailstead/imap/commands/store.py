"""STORE and UID STORE (RFC 9051 section 6.4.6, UNCHANGEDSINCE of RFC 7162)."""

from __future__ import annotations

from mailstead.imap import fetch_items, flags, progress, sequence_set
from mailstead.imap.commands.select import MAX_MODSEQ
from mailstead.imap.fetch_items import FetchList
from mailstead.imap.grammar import Arguments, BadSyntax
from mailstead.imap.render import cut
from mailstead.imap.selected import Selected
from mailstead.imap.session import Session

_MODES = {b"FLAGS": "set", b"+FLAGS": "add", b"-FLAGS": "remove"}
#: UIDs handed to the service in one call.
STEP = 5000
_FLAGS = FetchList((fetch_items.FLAGS,), ())
_NOTHING = FetchList((fetch_items.UID,), ())
_NEITHER = FetchList((), ())


class Request:
    """A parsed STORE: `mode`, `silent`, flag names, and the modseq of UNCHANGEDSINCE (-1 without)."""

    __slots__ = ("mode", "names", "octets", "silent", "since")

    def __init__(self, arguments: Arguments) -> None:
        arguments.space()
        self.octets = arguments.sequence_set()
        arguments.space()
        self.since = -1
        if arguments.skip(b"("):
            if arguments.keyword() != b"UNCHANGEDSINCE":
                raise BadSyntax("Unknown STORE modifier")
            arguments.space()
            self.since = arguments.number(MAX_MODSEQ)
            arguments.expect(b")")
            arguments.space()
        item = arguments.keyword()
        self.silent = item.endswith(b".SILENT")
        mode = _MODES.get(item.removesuffix(b".SILENT"))
        if mode is None:
            raise BadSyntax("Expected FLAGS, +FLAGS or -FLAGS")
        self.mode = mode
        arguments.space()
        if arguments.peek() == b"(":
            names = arguments.flags()
        else:
            names = [arguments.flag()]
            while not arguments.at_end():
                arguments.space()
                names.append(arguments.flag())
        arguments.end()
        self.names = flags.normalise(names)


async def _store(session: Session, arguments: Arguments, by_uid: bool) -> bytes:
    request = Request(arguments)
    selected = session.writable()
    ranges = selected.resolve(request.octets, by_uid)
    if request.since >= 0:
        session.condstore = True
    ranges, code = progress.limited(ranges, selected.uids)
    uids = sequence_set.uids_of(ranges, selected.uids) if len(ranges) != 1 else selected.uids[slice(*ranges[0])]
    view = selected.view
    changed: list[int] = []
    modified: list[int] = []
    for start in range(0, len(uids), STEP):
        result = await session.services.mailbox.store_flags(
            view, uids[start : start + STEP], request.mode, request.names,
            unchanged_since=request.since if request.since >= 0 else None, origin=selected, durable=session.condstore,
        )  # fmt: skip
        if request.since >= 0:
            changed += result.changed
            modified += result.modified
    if modified:
        ranges = selected.positions_of(changed)
    if session.condstore:
        while not view.is_durable:
            await view.durable()
    if not request.silent or session.condstore:
        # A session that knows modseqs needs the new ones even where it asked for silence (RFC 7162 section 3.1.3).
        await _respond(session, selected, ranges, by_uid, request.silent)
    if modified:
        if code:  # one reply has room for one code
            session.untagged(b"OK %bNot all were looked at" % code)
        if by_uid:
            numbers = modified
        else:
            numbers = [at + 1 for at in map(selected.position, modified) if at >= 0]
        return b"OK [MODIFIED %b] Conditional STORE failed for some" % sequence_set.compact(numbers)
    return b"OK %bSTORE completed" % code


async def _respond(session: Session, selected: Selected, ranges: sequence_set.Ranges, by_uid: bool, silent: bool) -> None:
    items = _NOTHING if silent else _FLAGS
    if session.uidonly:
        items = (_NEITHER if silent else _FLAGS).uid_form
    elif by_uid or session.rev2:
        items = items.with_attributes(fetch_items.UID)
    if session.condstore:
        items = items.with_attributes(fetch_items.MODSEQ)
    session.tell_keywords(selected)
    renderer = session.services.renderer
    for start, end in cut(ranges):
        if selected.current:
            session.emit(renderer.piece(selected.view, items, start, end))
        else:
            positions = range(start, end)
            session.emit(renderer.stale(selected.view, items, positions, [selected.uids[at] for at in positions]))
        await session.pace()


async def store(session: Session, arguments: Arguments) -> bytes:
    """Change flags by number."""
    return await _store(session, arguments, by_uid=False)


async def uid_store(session: Session, arguments: Arguments) -> bytes:
    """Change flags by UID."""
    return await _store(session, arguments, by_uid=True)
