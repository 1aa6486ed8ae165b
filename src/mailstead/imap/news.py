"""News of the selected mailbox as untagged responses (RFC 9051 section 7.4, VANISHED of RFC 7162).

Invariants: expunges come first and from the end, so that none renumbers another; then the new number of messages,
then flags, whose numbers are those after the expunges.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailstead.imap import fetch_items, sequence_set
from mailstead.imap.fetch_items import FetchList
from mailstead.imap.responses import one_line
from mailstead.imap.selected import News, Selected
from mailstead.mailbox.errors import MailboxError

if TYPE_CHECKING:
    from mailstead.imap.session import Session

_FLAGS = FetchList((fetch_items.FLAGS,), ())
_FLAGS_MODSEQ = _FLAGS.with_attributes(fetch_items.MODSEQ)
_FLAGS_UID = _FLAGS.with_attributes(fetch_items.UID)
_FLAGS_UID_MODSEQ = _FLAGS_UID.with_attributes(fetch_items.MODSEQ)


async def tell(session: Session, allow_expunge: bool) -> None:
    """Bring in what others did to the selected mailbox and write it, as far as it may be told now."""
    selected = session.mailbox
    view = selected.view
    try:
        await view.refresh()
        if not view.is_filled:
            return  # the view stands still until then
        if session.contexts is None and not session.condstore and selected.nothing_to_tell():
            return
        while not view.is_durable:
            await view.durable()  # the view may have gained more while we waited
    except (MailboxError, OSError) as error:
        # Nothing is told that is not durable; it will be with a later command.
        session.untagged(b"NO [UNAVAILABLE] " + one_line(str(error)))
        return
    if session.selected is not selected or selected.released:
        return
    known = selected.count
    told = selected.news(allow_expunge)
    if not allow_expunge and session.notifier is not None and session.notifier.delays:
        arrived = selected.take_arrivals()
        if arrived >= 0:
            told = told or News()
            told.exists = arrived
    if told is not None:
        write(session, selected, told)
        if told.exists >= 0 and session.notifier is not None and session.notifier.new_items is not None:
            await _fetch_new(session, selected, known - len(told.expunged), told.exists)
    if session.contexts is not None and selected.current:
        await session.contexts.update(selected)


def tell_now(session: Session) -> bool:
    """Write what an idling session has to be told, without a task; False where that would have to wait for something."""
    selected = session.mailbox
    view = selected.view
    if not view.is_filled or not view.is_durable or session.contexts is not None or session.notifier is not None:
        return False
    if selected.folder.reader and not session.services.mailbox.readable(selected.folder):
        return False  # the longer way says nothing to who may no longer read
    told = selected.news(allow_expunge=True)
    if told is not None:
        write(session, selected, told)
    return True


async def _fetch_new(session: Session, selected: Selected, start: int, end: int) -> None:
    """What NOTIFY asked for of new messages (RFC 5465 section 5.2)."""
    from mailstead.imap.commands.fetch import Fetching  # it stands above this module

    assert session.notifier is not None
    items = session.notifier.new_items
    if items is not None and start < end:
        items = items.uid_form if session.uidonly else items
        await Fetching(session, selected, items).run([(start, end)])


def write_flags(session: Session, selected: Selected) -> None:
    """FLAGS and PERMANENTFLAGS of the selected mailbox."""
    names = " ".join(["\\Answered \\Flagged \\Deleted \\Seen \\Draft", *selected.view.keywords]).encode()
    session.untagged(b"FLAGS (%b)" % names)
    permanent = b"" if selected.read_only else names + b" \\*"
    rights = selected.folder.rights
    if permanent and not {"s", "t", "w"} <= set(rights):  # RFC 4314 section 5.1.1
        may = (("s", b"\\Seen"), ("t", b"\\Deleted"), ("w", names.replace(b" \\Deleted \\Seen", b"") + b" \\*"))
        permanent = b" ".join(words for right, words in may if right in rights)
    session.untagged(b"OK [PERMANENTFLAGS (%b)] Flags permitted" % permanent)


def write(session: Session, selected: Selected, news: News) -> None:
    """Queue the responses."""
    if news.expunged:
        if session.contexts is not None:
            session.contexts.expunged(news)
        if session.qresync or session.uidonly:
            session.untagged(b"VANISHED " + sequence_set.compact(news.vanished))
        else:
            session.emit(b"".join([b"* %d EXPUNGE\r\n" % (at + 1) for at in reversed(news.expunged)]))
    if news.keywords:
        write_flags(session, selected)
    if news.exists >= 0:
        session.untagged(b"%d EXISTS" % news.exists)
    if news.flags and (session.notifier is None or session.notifier.flag_changes):
        session.emit(_flags(session, selected, news.flags))


def _flags(session: Session, selected: Selected, positions: list[int]) -> bytes:
    """FETCH responses with flags, and what the session wants beside them."""
    if session.uidonly:
        items = (_FLAGS_MODSEQ if session.condstore else _FLAGS).uid_form
    else:
        items = _FLAGS_UID_MODSEQ if session.condstore else _FLAGS_UID if session.rev2 else _FLAGS
    renderer = session.services.renderer
    if selected.current:
        return renderer.positions(selected.view, items, positions)
    return renderer.stale(selected.view, items, positions, [selected.uids[at] for at in positions])
