"""SEARCH and UID SEARCH (RFC 9051 section 6.4.4) with the return options of RFC 4731, 5182, 5267, 6203 and 9394.

Invariants: the answer has the numbers that the session had when the command began; RETURN (SAVE) keeps UIDs, so
that "$" survives expunges.
"""

from __future__ import annotations

from collections.abc import Sequence

from mailstead.imap import contexts, search_return, searching
from mailstead.imap.contexts import Context
from mailstead.imap.grammar import Arguments, BadSyntax
from mailstead.imap.search_return import Returning, extended, numbers_of, spaced, tag_of
from mailstead.imap.searching import Searching
from mailstead.imap.session import Session
from mailstead.mailbox.sorting import Criterion, comparables

#: Messages handled between two looks at the clock.
_SLICE = 10_000


def check_update(session: Session, returning: Returning) -> None:
    """Raises BadSyntax where a result of that tag is kept up to date already (RFC 5267 section 4.3.1)."""
    if returning.update and session.contexts is not None and session.tag in session.contexts:
        raise BadSyntax("A result of this tag is being kept up to date")


async def keep_updated(work: Searching, positions: Sequence[int], by_uid: bool, criteria: tuple[Criterion, ...] = ()) -> None:
    """Begin to tell later changes of a result, or say why not."""
    session = work.session
    if session.contexts is None:
        session.contexts = contexts.Contexts(session)
    if session.contexts.full:
        contexts.refuse(session, session.tag, "Too many contexts")
        return
    if work.code or work.program.unstable or any(criterion.name == "relevancy" for criterion in criteria):
        contexts.refuse(session, session.tag, "This result changes by itself")
        return
    if len(positions) > session.contexts.room:
        contexts.refuse(session, session.tag, "Too many results")
        return
    uids = work.uids
    context = Context(session.tag, by_uid, work.program, work.event_no, work.modseq, work.newest, set(), criteria)
    for start in range(0, len(positions), _SLICE):
        await work.scope.breathe()
        context.members.update([uids[at] for at in positions[start : start + _SLICE]])
    if criteria:
        context.keys = await comparables(work.scope, criteria, sorted(positions), uids)
        context.members = set(context.keys)
        for start in range(0, len(positions), _SLICE):
            await work.scope.breathe()
            part = [uids[at] for at in positions[start : start + _SLICE]]
            context.order += [context.keys[uid] for uid in part if uid in context.keys]
    if not work.left:
        session.contexts.keep(context)


async def _search(session: Session, arguments: Arguments, by_uid: bool) -> bytes:
    arguments.space()
    returning = search_return.parse(arguments)
    if returning is None and session.rev2:
        returning = Returning({b"ALL"})
    return await _answer(session, arguments, returning, by_uid)


async def search_selected(session: Session, arguments: Arguments) -> bytes:
    """ESEARCH in the selected mailbox, RETURN and the search program at the cursor (RFC 7377 section 2.2)."""
    if session.selected is None:
        raise BadSyntax("No mailbox selected")
    returning = search_return.parse(arguments) or Returning({b"ALL"})
    folder = session.mailbox.folder
    more = b" MAILBOX %b UIDVALIDITY %d" % (session.mailbox_text(folder.name), folder.uidvalidity)
    return await _answer(session, arguments, returning, by_uid=True, more=more)


async def _answer(session: Session, arguments: Arguments, returning: Returning | None, by_uid: bool, more: bytes = b"") -> bytes:
    """Search and answer; `more` are correlators beside the tag."""
    if returning is not None:
        check_update(session, returning)
    searching.check_charset(session, arguments)
    filters = await searching.filters_of(session, arguments)
    work = searching.begin(session, arguments, filters, returning, numbers=not more)
    positions = await work.found()
    if work.left:
        return b"NO The mailbox was left"
    word = b"ESEARCH" if more else b"SEARCH"
    if returning is None:
        await _plain(work, positions, by_uid)
        return b"OK %b%b completed" % (work.code, word)
    if returning.save:
        work.selected.saved = [work.uids[at] for at in returning.kept(positions)]
    if returning.update:
        await keep_updated(work, positions, by_uid)
    if not returning.silent and (positions or not more):
        # Only where they are shown: COUNT alone needs none.
        numbers = await numbers_of(positions, work.uids, by_uid, work.scope.breathe) if returning.lists else positions
        relevancy = work.scope.relevancy if work.program.fuzzy else None
        head = tag_of(session.tag) + more
        text = await extended(
            head, returning, positions, numbers, work.scope.breathe, by_uid=by_uid, modseqs=work.modseqs, relevancy=relevancy
        )
        session.untagged(text)
    return b"OK %b%b completed" % (work.code, word)


async def _plain(work: Searching, positions: Sequence[int], by_uid: bool) -> None:
    breathe = work.scope.breathe
    text = await spaced(await numbers_of(positions, work.uids, by_uid, breathe), breathe)
    if work.modseqs is not None and positions:
        text += b" (MODSEQ %d)" % max(work.modseqs[at] for at in positions)
    work.session.untagged(b"SEARCH " + text if text else b"SEARCH")


async def search(session: Session, arguments: Arguments) -> bytes:
    """Find messages, answer with numbers."""
    return await _search(session, arguments, by_uid=False)


async def uid_search(session: Session, arguments: Arguments) -> bytes:
    """Find messages, answer with UIDs."""
    return await _search(session, arguments, by_uid=True)
