"""FETCH and UID FETCH (RFC 9051 section 6.4.5, modifiers of RFC 7162 and 9394).

Invariants: attributes are rendered block by block and never block the loop for more than some milliseconds; octets
of a large message pass through piece by piece, at the pace at which the client takes them; \\Seen is set before the
message is shown and appears in the same response.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from mailstead.imap import body, fetch_items, partial, progress, sequence_set, vanished
from mailstead.imap.body import SMALL, Stored
from mailstead.imap.commands.select import MAX_MODSEQ
from mailstead.imap.fetch_items import FetchList, IncompleteFields
from mailstead.imap.grammar import Arguments, BadSyntax
from mailstead.imap.output import FLUSH_AT
from mailstead.imap.partial import Partial
from mailstead.imap.render import BLOCK, cut
from mailstead.imap.selected import Selected
from mailstead.imap.session import Session
from mailstead.imap.streaming import stream
from mailstead.mailbox.model import SEEN, Location
from mailstead.store.record import DamagedRecord

SLICE_SECONDS = 0.003
#: Messages whose rows are read at a time where octets are fetched.
BODY_ROWS = 64
#: Ranges longer than this on average are rendered as pieces of blocks, which are kept.
_SCATTERED = 8
#: Messages up to this size are copied into one piece with the text around them.
_INLINE = 32 * 1024


class Modifiers:
    """CHANGEDSINCE and VANISHED of RFC 7162, PARTIAL of RFC 9394."""

    __slots__ = ("partial", "since", "vanished")

    def __init__(self) -> None:
        self.since = -1
        self.vanished = False
        self.partial: Partial | None = None


def _modifiers(session: Session, arguments: Arguments, by_uid: bool) -> Modifiers:
    found = Modifiers()
    if arguments.at_end():
        return found
    arguments.space()
    arguments.expect(b"(")
    while True:
        name = arguments.keyword()
        if name == b"CHANGEDSINCE":
            arguments.space()
            found.since = arguments.number(MAX_MODSEQ)
        elif name == b"VANISHED":
            found.vanished = True
        elif name == b"PARTIAL":
            arguments.space()
            found.partial = partial.parse(arguments)
        else:
            raise BadSyntax("Unknown FETCH modifier")
        if arguments.skip(b")"):
            break
        arguments.space()
    arguments.end()
    if found.vanished and not (by_uid and session.qresync and found.since >= 0):
        raise BadSyntax("VANISHED needs UID FETCH, QRESYNC and CHANGEDSINCE")
    return found


async def _fetch(session: Session, arguments: Arguments, by_uid: bool) -> bytes:
    arguments.space()
    octets = arguments.sequence_set()
    arguments.space()
    items, complete = fetch_items.parse_cached(arguments)
    modifiers = Modifiers() if complete else _modifiers(session, arguments, by_uid)
    selected = session.mailbox
    ranges = selected.resolve(octets, by_uid)
    if session.uidonly:
        items = items.uid_form  # which names the UID anyway
    elif by_uid:
        items = items.with_attributes(fetch_items.UID)
    if items.wants_modseq or modifiers.since >= 0:
        session.condstore = True
    if modifiers.since >= 0:
        items = items.with_attributes(fetch_items.MODSEQ)
        ranges = _changed_since(selected, ranges, modifiers.since)
        if modifiers.vanished:
            gone = vanished.missing(
                sequence_set.parse(octets) if octets != b"$" else (), selected.uids, selected.count,
                selected.view.uidnext,
            )  # fmt: skip
            if gone:
                session.untagged(b"VANISHED (EARLIER) " + gone)
    if modifiers.partial is not None:
        # RFC 9394 section 3.4: of what the other modifiers leave.
        ranges = modifiers.partial.of_ranges(ranges)
    if session.condstore and items.volatile:
        items = items.with_attributes(fetch_items.MODSEQ)
    ranges, code = progress.limited(ranges, selected.uids)
    work = Fetching(session, selected, items)
    await work.run(ranges)
    if work.damaged:
        return b"NO [SERVERBUG] Some messages are damaged in the store"
    if work.gone and not by_uid:
        return b"NO [EXPUNGEISSUED] Some messages no longer exist"
    return b"OK %bFETCH completed" % code


def _changed_since(selected: Selected, ranges: sequence_set.Ranges, since: int) -> sequence_set.Ranges:
    view = selected.view
    positions: list[int] = []
    for start, end in ranges:
        if selected.current:
            positions += [at for at, modseq in enumerate(view.modseqs[start:end], start) if modseq > since]
        else:
            for at in range(start, end):
                index = view.index(selected.uids[at])
                if index >= 0 and view.modseqs[index] > since:
                    positions.append(at)
    return sequence_set.from_positions(positions)


class Fetching:
    """One FETCH in progress. `gone` and `damaged` count messages left out: no longer there, or unreadable."""

    def __init__(self, session: Session, selected: Selected, items: FetchList) -> None:
        self.session = session
        self.selected = selected
        # Where octets are read anyway, header fields come from there: the index may have cut them.
        self.items = fetch_items.with_read_fields(items) if items.bodies and "fields" in items.columns else items
        self.gone = self.damaged = 0
        self._plain_uid = self.items.attributes == (fetch_items.UID,)
        self._plain_head: bytes | None = None
        if len(self.items.bodies) == 1 and (self._plain_uid or not self.items.attributes):
            only = self.items.bodies[0]
            if not (only.part or only.text or only.binary or only.length >= 0):
                self._plain_head = self.items.head + b"UID %d " * self._plain_uid + only.label + b" {%d}\r\n%b)\r\n"
        self._renderer = session.services.renderer
        self._mailbox = session.services.mailbox
        self._until = time.monotonic() + SLICE_SECONDS

    async def run(self, ranges: sequence_set.Ranges) -> None:
        """Write the responses for positions."""
        if self.items.bodies:
            await self._bodies(ranges)
        elif sequence_set.total(ranges) >= _SCATTERED * len(ranges) and self.selected.current:
            await self._pieces(ranges)
        else:
            await self._scattered(ranges)

    async def _turn(self) -> None:
        """Between two pieces: keep to the client's pace, to durability, and to our share of the loop."""
        session = self.session
        await session.pace()
        if time.monotonic() >= self._until:
            session.flush()
            await session.breathe()
            self._until = time.monotonic() + SLICE_SECONDS
        view = self.selected.view
        while not view.is_durable:
            await view.durable()
        if self.items.volatile:
            session.tell_keywords(self.selected)

    async def _pieces(self, ranges: sequence_set.Ranges) -> None:
        view = self.selected.view
        for start, end in cut(ranges):
            await self._turn()
            if not self.selected.current:
                await self._scattered([(start, end)])
                continue
            before = self._renderer.missed
            try:
                self.session.emit(self._renderer.piece(view, self.items, start, end))
                self.gone += self._renderer.missed - before
            except IncompleteFields:
                await self._read_fields(range(start, end))

    async def _scattered(self, ranges: sequence_set.Ranges) -> None:
        for positions in _chunks(ranges, BLOCK):
            await self._turn()
            before = self._renderer.missed
            try:
                self.session.emit(self._attributes(positions))
                self.gone += self._renderer.missed - before
            except IncompleteFields:
                await self._read_fields(positions)

    def _attributes(self, positions: Sequence[int]) -> bytes:
        selected = self.selected
        if selected.current:
            return self._renderer.positions(selected.view, self.items, positions)
        uids = [selected.uids[at] for at in positions]
        return self._renderer.stale(selected.view, self.items, positions, uids)

    async def _read_fields(self, positions: Sequence[int]) -> None:
        """Header fields from the message itself, where the index has not all of them."""
        items = fetch_items.with_read_fields(self.items)
        other = Fetching(self.session, self.selected, items)
        await other._bodies(sequence_set.from_positions(positions))
        self.gone += other.gone
        self.damaged += other.damaged

    # ---- octets ------------------------------------------------------------------------------------------------

    async def _bodies(self, ranges: sequence_set.Ranges) -> None:
        items, session = self.items, self.session
        columns = body.columns_for(items.bodies)
        extra = tuple(name for name in items.columns if name not in columns)
        mark = items.sets_seen and not self.selected.read_only and "s" in self.selected.folder.rights
        for positions in _chunks(ranges, BODY_ROWS):
            await self._turn()
            selected, view = self.selected, self.selected.view
            uids = [selected.uids[at] for at in positions]
            fresh = await self._mark_seen(uids) if mark else frozenset()
            rows = {row[0]: row for row in self._mailbox.rows(view, uids, columns + extra)}
            texts = self._renderer.texts(view)
            plain = self._plain_head is not None
            for at, uid in zip(positions, uids, strict=True):
                row = rows.get(uid)
                if plain and row is not None and row[1].size <= _INLINE and uid not in fresh and self._whole(at, uid, row[1]):
                    if session.queued >= FLUSH_AT:
                        await session.pace()
                    continue
                index = view.index(uid)
                if row is None or index < 0:
                    self.gone += 1
                    continue
                values = dict(zip(columns + extra, row[1:], strict=True)) if extra or len(columns) > 1 else {}
                head = items
                if uid in fresh:
                    head = items.with_attributes(fetch_items.FLAGS)
                    if self.session.condstore:
                        head = head.with_attributes(fetch_items.MODSEQ)
                parts = []
                value: Any
                for attribute in head.attributes:
                    if attribute.column == "uid":
                        value = uid
                    elif attribute.column == "flags":
                        value = texts[view.flags[index]]
                    elif attribute.column == "modseq":
                        value = view.modseqs[index]
                    else:
                        value = values[attribute.column]
                    if attribute.convert is not None:
                        value = attribute.convert(value)
                    parts.append(attribute.fragment % (value,))
                stored = Stored(row[1], values.get("header_size", 0), values.get("parts", b""))
                await self._message(uid if items.uid_only else at + 1, b" ".join(parts), stored)

    def _whole(self, at: int, uid: int, location: Location) -> bool:
        """The whole of a small message as one piece, which is what clients fetch most; False where that fails."""
        try:
            octets = body.without_nul(self._mailbox.read(location))
        except (OSError, DamagedRecord):
            return False
        head = self._plain_head
        assert head is not None
        number = uid if self.items.uid_only else at + 1
        values = (number, uid, len(octets), octets) if self._plain_uid else (number, len(octets), octets)
        self.session.emit(head % values)
        return True

    async def _message(self, number: int, head: bytes, stored: Stored) -> None:
        """One response: attributes, then the body items. What may fail is done before the first octet is written."""
        session = self.session
        pieces: list[bytes | tuple[int, int]] = [self.items.head % number, head]
        separator = b" " if head else b""
        try:
            for item in self.items.bodies:
                pieces.append(separator + item.label + b" ")
                separator = b" "
                span = body.plain_extent(stored, item)
                if span is None:
                    pieces.append(await body.value(self._mailbox, stored, item))
                    continue
                start, end = span
                pieces.append(b"{%d}\r\n" % (end - start))
                if end - start > SMALL:
                    pieces.append(span)
                elif end > start:
                    pieces.append(body.without_nul(self._mailbox.read(stored.location, start, end - start)))
        except (OSError, DamagedRecord, ValueError) as error:
            self.damaged += 1
            session.link.log.error("message cannot be read", number=number, reason=str(error))
            return
        pieces.append(b")\r\n")
        for piece in pieces:
            if isinstance(piece, bytes):
                session.emit(piece)
            else:
                await stream(session, stored.location, *piece)
        await session.pace()

    async def _mark_seen(self, uids: list[int]) -> frozenset[int]:
        """Set \\Seen where it is not; the UIDs for which that was news."""
        view = self.selected.view
        unseen = [uid for uid in uids if (at := view.index(uid)) >= 0 and not view.flags[at] & SEEN]
        if not unseen:
            return frozenset()
        result = await self._mailbox.store_flags(
            view, unseen, "add", ("\\Seen",), origin=self.selected, durable=self.session.condstore
        )
        if self.session.condstore:
            while not view.is_durable:
                await view.durable()
        return frozenset(result.changed)


def _chunks(ranges: sequence_set.Ranges, size: int) -> list[list[int]]:
    """The positions in ranges, in lists of at most `size`."""
    out: list[list[int]] = []
    current: list[int] = []
    for start, end in ranges:
        while start < end:
            take = min(end - start, size - len(current))
            current += range(start, start + take)
            start += take
            if len(current) == size:
                out.append(current)
                current = []
    if current:
        out.append(current)
    return out


async def fetch(session: Session, arguments: Arguments) -> bytes:
    """Read messages by number."""
    return await _fetch(session, arguments, by_uid=False)


async def uid_fetch(session: Session, arguments: Arguments) -> bytes:
    """Read messages by UID."""
    return await _fetch(session, arguments, by_uid=True)
