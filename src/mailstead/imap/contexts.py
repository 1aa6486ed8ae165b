"""Results of searches that are kept up to date (RFC 5267): CONTEXT=SEARCH and CONTEXT=SORT with UPDATE.

Invariants
- Applying ADDTO and REMOVEFROM in the order in which they were sent to the first answer gives what the same command
  would answer now, as far as the client has been told of the mailbox.
- A message is taken out before its EXPUNGE is written, under the number that it still has, and is put in after the
  EXISTS that announced it.
- Nothing is told that is not durable; a session keeps at most MAX_CONTEXTS results of MAX_MEMBERS messages in all.

How: a context knows the events of the view up to a number; what they changed, and what came since, is searched again.
In a sorted result a message has a position, found by bisection over keys that never change.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mailstead.imap import sequence_set
from mailstead.imap.responses import quote
from mailstead.imap.search_numbers import AmongUids
from mailstead.imap.search_program import Program
from mailstead.mailbox.errors import MailboxError
from mailstead.mailbox.model import EventKind
from mailstead.mailbox.search import Scope, evaluate
from mailstead.mailbox.sorting import Criterion, comparables
from mailstead.store.record import DamagedRecord

if TYPE_CHECKING:
    from mailstead.imap.selected import News, Selected
    from mailstead.imap.session import Session

MAX_CONTEXTS = 10
MAX_MEMBERS = 100_000


@dataclass(slots=True)
class Context:
    """One result. `members` are UIDs; sorted ones are in `order` as keys that end in the UID, and in `keys` by UID."""

    tag: bytes
    by_uid: bool
    program: Program
    event_no: int
    modseq: int
    newest: int
    members: set[int]
    criteria: tuple[Criterion, ...] = ()
    order: list[tuple[Any, ...]] = field(default_factory=list)
    keys: dict[int, tuple[Any, ...]] = field(default_factory=dict)

    def add(self, uids: Sequence[int], keys: dict[int, tuple[Any, ...]]) -> list[tuple[int, int]]:
        """Put in; (position from 1, UID) each."""
        self.members.update(uids)
        if not self.criteria:
            return [(0, uid) for uid in uids]
        out = []
        for uid in uids:
            key = keys[uid]
            at = bisect_left(self.order, key)
            self.order.insert(at, key)
            self.keys[uid] = key
            out.append((at + 1, uid))
        return out

    def remove(self, uids: Sequence[int]) -> list[tuple[int, int]]:
        """Take out those that are in; (position from 1, UID) each."""
        uids = [uid for uid in uids if uid in self.members]
        self.members.difference_update(uids)
        if not self.criteria:
            return [(0, uid) for uid in uids]
        out = []
        for uid in uids:
            at = bisect_left(self.order, self.keys.pop(uid))
            del self.order[at]
            out.append((at + 1, uid))
        return out


class Contexts:
    """All contexts of a session; they end with the selection of the mailbox."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._all: dict[bytes, Context] = {}

    def __contains__(self, tag: bytes) -> bool:
        return tag in self._all

    def __len__(self) -> int:
        return len(self._all)

    @property
    def full(self) -> bool:
        """No further one fits."""
        return len(self._all) >= MAX_CONTEXTS

    @property
    def room(self) -> int:
        """Messages that a further one may have."""
        return MAX_MEMBERS - sum(len(context.members) for context in self._all.values())

    def keep(self, context: Context) -> None:
        """Tell changes of this result from now on."""
        self._all[context.tag] = context

    def cancel(self, tag: bytes) -> bool:
        """No longer tell changes; whether there was one of that tag."""
        return self._all.pop(tag, None) is not None

    def _tell(self, selected: Selected, context: Context, word: bytes, changes: list[tuple[int, int]]) -> None:
        if not changes:
            return
        if context.by_uid:
            named = changes
        else:
            named = [(place, at + 1) for place, uid in changes if (at := selected.position(uid)) >= 0]
        if context.criteria:
            text = b" ".join([b"%d %d" % pair for pair in named])
        else:
            text = b"0 " + sequence_set.compact(sorted(number for _, number in named))
        uid = b" UID" if context.by_uid else b""
        self._session.untagged(b"ESEARCH (TAG %b)%b %b (%b)" % (quote(context.tag), uid, word, text))

    def expunged(self, news: News) -> None:
        """Messages are about to be told as gone."""
        uids = news.vanished
        numbers = dict(zip(uids, news.expunged, strict=True))
        for context in self._all.values():
            gone = context.remove(uids)
            if not gone:
                continue
            named = [(place, uid if context.by_uid else numbers[uid] + 1) for place, uid in gone]
            if context.criteria:
                text = b" ".join([b"%d %d" % pair for pair in named])
            else:
                text = b"0 " + sequence_set.compact([number for _, number in named])
            word = b" UID" if context.by_uid else b""
            self._session.untagged(b"ESEARCH (TAG %b)%b REMOVEFROM (%b)" % (quote(context.tag), word, text))

    async def update(self, selected: Selected) -> None:
        """Tell what has changed; call it once all news of the mailbox are told."""
        view = selected.view
        pending = [context for context in self._all.values() if context.event_no != view.event_no]
        if not pending:
            return
        newest = selected.uids[selected.count - 1] if selected.count else 0
        work = []
        # All of this is of one moment; what happens while we search comes with the next call.
        for context in pending:
            scope = self._scope(selected, _changed(selected, context))
            context.event_no, context.modseq, context.newest = view.event_no, view.highest_modseq, max(newest, context.newest)
            work.append((context, scope))
        for context, scope in work:
            if not scope.count:
                continue
            try:
                await self._search(selected, context, scope, newest)
            except (MailboxError, OSError, DamagedRecord):
                self._give_up(context, "The result can no longer be kept up to date")

    def _scope(self, selected: Selected, uids: list[int]) -> Scope:
        view = selected.view
        at = [view.index(uid) for uid in uids]
        flags, modseqs = array("Q", [view.flags[i] for i in at]), array("Q", [view.modseqs[i] for i in at])
        return Scope(self._session.services.mailbox, view, uids, flags, modseqs, len(uids))

    async def _search(self, selected: Selected, context: Context, scope: Scope, newest: int) -> None:
        key = context.program.again(AmongUids(selected.view.keywords, scope.uids, newest))
        found = await evaluate(scope, key)
        now = {scope.uids[at] for at in found}
        gone = [uid for uid in scope.uids if uid in context.members and uid not in now]
        come = [at for at in found if scope.uids[at] not in context.members]
        keys: dict[int, tuple[Any, ...]] = {}
        if context.criteria and come:
            keys = await comparables(scope, context.criteria, come, scope.uids)
            come = [at for at in come if scope.uids[at] in keys]
        if self._all.get(context.tag) is not context:
            return  # cancelled meanwhile
        self._tell(selected, context, b"REMOVEFROM", context.remove(gone))
        self._tell(selected, context, b"ADDTO", context.add([scope.uids[at] for at in come], keys))
        if self.room < 0:
            self._give_up(context, "Too many results")

    def _give_up(self, context: Context, text: str) -> None:
        self.cancel(context.tag)
        refuse(self._session, context.tag, text)


def _changed(selected: Selected, context: Context) -> list[int]:
    """UIDs, rising, of the messages of which a context has to look again; all of them exist."""
    view = selected.view
    events = view.events_since(context.event_no)
    if events is None:
        floor = context.modseq
        changed = {uid for uid, modseq in zip(view.uids, view.modseqs, strict=True) if modseq > floor}
    else:
        changed = {uid for event in events if event.kind == EventKind.FLAGS for uid in event.uids}
    first = bisect_left(selected.uids, context.newest + 1, 0, selected.count)
    changed.update(selected.uids[first : selected.count])
    return sorted(uid for uid in changed if selected.position(uid) >= 0 and view.index(uid) >= 0)


def refuse(session: Session, tag: bytes, text: str) -> None:
    """Say that a result is not, or no longer, kept up to date (RFC 5267 section 4.3.2)."""
    session.untagged(b"NO [NOUPDATE %b] %b" % (quote(tag), text.encode("ascii")))
