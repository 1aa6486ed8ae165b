"""SORT and UID SORT (RFC 5256, ESORT of RFC 5267, SORT=DISPLAY of RFC 5957, RELEVANCY of RFC 6203).

Invariants: the answer has the numbers that the session had when the command began.
"""

from __future__ import annotations

from mailstead.imap import search_return, searching
from mailstead.imap.commands.search import check_update, keep_updated
from mailstead.imap.grammar import Arguments, BadSyntax
from mailstead.imap.progress import Progress
from mailstead.imap.search_return import extended, numbers_of, spaced, tag_of
from mailstead.imap.session import Session
from mailstead.mailbox.sorting import CRITERIA, Criterion, sort_positions

MAX_CRITERIA = 20


def criteria_of(arguments: Arguments) -> tuple[Criterion, ...]:
    """The parenthesised sort criteria at the cursor. Raises BadSyntax."""
    arguments.expect(b"(")
    found: dict[str, Criterion] = {}
    count = 0
    while True:
        reverse = False
        name = arguments.keyword()
        if name == b"REVERSE":
            reverse = True
            arguments.space()
            name = arguments.keyword()
        known = name.decode("ascii", "replace").lower()
        if known not in CRITERIA:
            raise BadSyntax("Unknown sort criterion")
        count += 1
        # What is equal in a criterion is equal in it once more.
        found.setdefault(known, Criterion(known, reverse))
        if arguments.skip(b")"):
            return tuple(found.values())
        arguments.space()
        if count >= MAX_CRITERIA:
            raise BadSyntax("Too many sort criteria")


async def _sort(session: Session, arguments: Arguments, by_uid: bool) -> bytes:
    arguments.space()
    returning = search_return.parse(arguments)
    if returning is not None:
        check_update(session, returning)
    criteria = criteria_of(arguments)
    arguments.space()
    filters = await searching.filters_of(session, arguments)
    fuzzy = any(criterion.name == "relevancy" for criterion in criteria)
    work = searching.begin(session, arguments, filters, returning, charset_first=True, fuzzy=fuzzy)
    with Progress(session) as told:
        positions = await sort_positions(work.scope, criteria, await work.positions(), told.note)
    if work.left:
        return b"NO The mailbox was left"
    breathe = work.scope.breathe
    if returning is None:
        text = await spaced(await numbers_of(positions, work.uids, by_uid, breathe), breathe)
        if work.modseqs is not None and positions:
            text += b" (MODSEQ %d)" % max(work.modseqs[at] for at in positions)
        session.untagged(b"SORT " + text if text else b"SORT")
        return b"OK %bSORT completed" % work.code
    if returning.save:
        work.selected.saved = sorted(work.uids[at] for at in returning.kept(positions))
    if returning.update:
        await keep_updated(work, positions, by_uid, criteria)
    if not returning.silent:
        numbers = await numbers_of(positions, work.uids, by_uid, breathe)
        relevancy = work.scope.relevancy if work.program.fuzzy else None
        head = tag_of(session.tag)
        session.untagged(await extended(
            head, returning, positions, numbers, breathe, by_uid=by_uid, modseqs=work.modseqs, relevancy=relevancy
        ))  # fmt: skip
    return b"OK %bSORT completed" % work.code


async def sort(session: Session, arguments: Arguments) -> bytes:
    """Find messages, answer with numbers in order."""
    return await _sort(session, arguments, by_uid=False)


async def uid_sort(session: Session, arguments: Arguments) -> bytes:
    """Find messages, answer with UIDs in order."""
    return await _sort(session, arguments, by_uid=True)
