"""What a session knows of the mailbox it has selected: its map of sequence numbers.

Invariants (RFC 3501 section 7.4.1, RFC 9051 section 7.5.1): the session's message numbered n is `uids[n - 1]` and
stays so until an EXPUNGE has been written for it; numbers appear only through EXISTS.  While an expunge may not be
told, messages that came later are not told either, because the view has them in an array that no longer fits.
A change of flags made by the session itself is answered by its own command and is not told again.

How: `uids` is the view's own array, shared by all sessions; `count` of them are known to the client.  An expunge
gives the view a new array, which the session takes over when it may tell so; until then it keeps the old one.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mailstead.imap import sequence_set
from mailstead.imap.grammar import BadSyntax
from mailstead.mailbox.model import EventKind, Folder

if TYPE_CHECKING:
    from mailstead.imap.commands import Entry, Function
    from mailstead.imap.grammar import Arguments
    from mailstead.imap.session import Session
    from mailstead.mailbox.view import FolderView

#: No item that sets \\Seen, no modifier; the set is group 1.
_plain_fetch = re.compile(
    rb" ([0-9:,*]+) (?!.*(?:BODY\[|BINARY\[|RFC822(?!\.SIZE|\.HEADER)|CHANGEDSINCE|PARTIAL)).*", re.I | re.S
).fullmatch


class Selected:
    """The selected mailbox of one session. Release it exactly once with `release`."""

    __slots__ = ("_flags_no", "_generation", "_keywords", "_map_no", "_modseq", "count", "folder", "read_only",
                 "released", "saved", "uids", "view")  # fmt: skip

    def __init__(self, folder: Folder, view: FolderView, read_only: bool) -> None:
        self.folder = folder
        self.view = view
        self.read_only = read_only
        self.released = False
        #: UIDs of the saved search result "$" (RFC 5182), rising.
        self.saved: Sequence[int] = ()
        self.uids: array[int] = view.uids
        self.count = len(view.uids)
        self._generation = view.generation
        self._flags_no = self._map_no = view.event_no
        self._modseq = view.highest_modseq
        self._keywords = len(view.keywords)

    @property
    def current(self) -> bool:
        """Whether the positions of this session are those of the view's arrays."""
        return self._generation == self.view.generation

    def release(self) -> None:
        """Give the view back."""
        if not self.released:
            self.released = True
            self.view.release()

    def when_filled(self, entry: Entry, arguments: Arguments) -> Function:
        """The command's function; one that waits first where the command needs messages that a large view has not yet."""
        view = self.view
        if view.is_filled or not entry.whole or (entry.partly and self._has(arguments.text[arguments.pos :], entry.by_uid)):
            return entry.function

        async def waiting(session: Session, arguments: Arguments) -> bytes | None:
            await view.filled()
            result = entry.function(session, arguments)
            return result if isinstance(result, bytes | None) else await result

        return waiting

    def _has(self, octets: bytes, by_uid: bool) -> bool:
        """Whether a FETCH changes nothing and names only messages that the view has already."""
        match = _plain_fetch(octets)
        if match is None or self.view.low >= self.count:
            return False
        newest, lowest = (self.uids[self.count - 1], self.uids[self.view.low]) if by_uid else (self.count, self.view.low + 1)
        try:
            pairs = sequence_set.parse(match[1])
        except BadSyntax:
            return True  # it is refused anyway
        return all(min(first or newest, last or newest) >= lowest for first, last in pairs)

    def resolve(self, octets: bytes, by_uid: bool) -> sequence_set.Ranges:
        """Positions named by a sequence set or "$". Raises BadSyntax."""
        if octets == b"$":
            return self.positions_of(self.saved)
        pairs = sequence_set.parse(octets)
        if by_uid:
            return sequence_set.by_uid(pairs, self.uids, self.count)
        return sequence_set.by_number(pairs, self.count)

    def position(self, uid: int) -> int:
        """Where the session has the message, -1 if it does not know it."""
        at = bisect_left(self.uids, uid, 0, self.count)
        return at if at < self.count and self.uids[at] == uid else -1

    def positions_of(self, uids: Sequence[int]) -> sequence_set.Ranges:
        """Ranges of positions of rising UIDs; those that the session does not know are left out."""
        if not uids or not self.count:
            return []
        if len(uids) == self.count and uids[0] == self.uids[0] and uids[-1] == self.uids[self.count - 1]:
            return [(0, self.count)]
        start = bisect_left(self.uids, uids[0], 0, self.count)
        end = start + len(uids)
        if end <= self.count and self.uids[start:end] == (uids if isinstance(uids, array) else array("I", uids)):
            return [(start, end)]
        return sequence_set.from_positions([at for at in map(self.position, uids) if at >= 0])

    def new_keywords(self) -> bool:
        """Whether the view has keywords that the client has not been told of; note that it was told now."""
        if len(self.view.keywords) == self._keywords:
            return False
        self._keywords = len(self.view.keywords)
        return True

    def nothing_to_tell(self) -> bool:
        """Whether all that is new in the view, after a refresh, are flags that this session changed itself; noted if so."""
        view = self.view
        if view.event_no == self._flags_no == self._map_no:
            return True
        if self._flags_no != self._map_no or self._generation != view.generation or len(view.keywords) != self._keywords:
            return False
        events = view.events_since(self._flags_no)
        if events is None or any(event.kind != EventKind.FLAGS or event.origin is not self for event in events):
            return False
        self._flags_no = self._map_no = view.event_no
        self._modseq = view.highest_modseq
        return True

    def news(self, allow_expunge: bool) -> News | None:
        """What the client has to be told, and note that it was; None for nothing.

        Call it after `view.refresh()` and `view.durable()`, without an await in between.
        """
        view = self.view
        if view.event_no == self._flags_no and view.event_no == self._map_no:
            return None
        news = News()
        changed = self._changed_uids()
        self._flags_no = view.event_no
        self._modseq = view.highest_modseq
        news.keywords = self.new_keywords()
        known = self.count
        if self._generation != view.generation and allow_expunge:
            news.expunged, news.vanished = self._expunged()
            known -= len(news.expunged)
            self.uids = view.uids
            self._generation = view.generation
            self.count = known
        if self._generation == view.generation:
            self._map_no = view.event_no
            if len(view.uids) != known:
                self.count = len(view.uids)
                news.exists = self.count
        for uid in changed:
            at = self.position(uid)
            if 0 <= at < known and view.index(uid) >= 0:
                news.flags.append(at)
        return news

    def take_arrivals(self) -> int:
        """While an expunge may not be told: put what came later behind the messages the client knows, gone ones among
        them (RFC 5465 SELECTED-DELAYED). The new number of messages, -1 where nothing came."""
        view = self.view
        if self.current:
            return -1
        last = self.uids[self.count - 1] if self.count else 0
        new = view.uids[bisect_right(view.uids, last) :]
        if not new:
            return -1
        self.uids = self.uids[: self.count] + new
        self.count = len(self.uids)
        return self.count

    def _changed_uids(self) -> list[int]:
        view = self.view
        if view.event_no == self._flags_no:
            return []
        events = view.events_since(self._flags_no)
        if events is None:
            floor = self._modseq
            return [uid for uid, modseq in zip(view.uids, view.modseqs, strict=False) if modseq > floor]
        uids: set[int] = set()
        for event in events:
            if event.kind == EventKind.FLAGS and event.origin is not self:
                uids.update(event.uids)
        return sorted(uids)

    def gone(self) -> list[int]:
        """Positions, rising, of messages that the client knows and the view no longer has."""
        return self._expunged()[0]

    def _expunged(self) -> tuple[list[int], list[int]]:
        """Positions and UIDs, rising, of known messages that the view no longer has."""
        view = self.view
        events = view.events_since(self._map_no)
        if events is None:
            still = set(view.uids)
            at = [i for i, uid in enumerate(self.uids[: self.count]) if uid not in still]
        else:
            gone: set[int] = set()
            for event in events:
                if event.kind == EventKind.EXPUNGE:
                    gone.update(event.uids)
            at = sorted(i for i in map(self.position, gone) if i >= 0)
        return at, [self.uids[i] for i in at]


class News:
    """Untagged responses to come: positions are those after the expunges."""

    __slots__ = ("exists", "expunged", "flags", "keywords", "vanished")

    def __init__(self) -> None:
        #: Positions before any of them was removed, rising.
        self.expunged: list[int] = []
        self.vanished: list[int] = []
        #: The new number of messages, -1 for no change.
        self.exists = -1
        self.flags: list[int] = []
        self.keywords = False
