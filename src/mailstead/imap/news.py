"""News of the selected mailbox as untagged responses (RFC 9051 section 7.4, VANISHED of RFC 7162).

Invariants: expunges come first and from the end, so that none renumbers another; then the new number of messages,
then flags, whose numbers are those after the expunges.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailstead.imap import fetch_items, sequence_set
from mailstead.imap.fetch_items import FetchList
from mailstead.imap.selected import News, Selected

if TYPE_CHECKING:
    from mailstead.imap.session import Session

_FLAGS = FetchList((fetch_items.FLAGS,), ())
_FLAGS_UID = _FLAGS.with_attributes(fetch_items.UID)
_FLAGS_UID_MODSEQ = _FLAGS_UID.with_attributes(fetch_items.MODSEQ)


def write(session: Session, selected: Selected, news: News) -> None:
    """Queue the responses."""
    if news.expunged:
        if session.contexts is not None:
            session.contexts.expunged(news)
        if session.qresync:
            session.untagged(b"VANISHED " + sequence_set.compact(news.vanished))
        else:
            session.emit(b"".join([b"* %d EXPUNGE\r\n" % (at + 1) for at in reversed(news.expunged)]))
    if news.keywords:
        session.write_flags(selected)
    if news.exists >= 0:
        session.untagged(b"%d EXISTS" % news.exists)
    if news.flags:
        session.emit(_flags(session, selected, news.flags))


def _flags(session: Session, selected: Selected, positions: list[int]) -> bytes:
    """FETCH responses with flags, and what the session wants beside them."""
    items = _FLAGS_UID_MODSEQ if session.condstore else _FLAGS_UID if session.rev2 else _FLAGS
    renderer = session.services.renderer
    if selected.current:
        return renderer.positions(selected.view, items, positions)
    return renderer.stale(selected.view, items, positions, [selected.uids[at] for at in positions])
