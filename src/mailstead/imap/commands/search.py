"""SEARCH and UID SEARCH (RFC 9051 section 6.4.4, ESEARCH of RFC 4731, SEARCHRES of RFC 5182).

Invariants: the answer has the numbers that the session had when the command began; RETURN (SAVE) keeps UIDs, so
that "$" survives expunges.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from mailstead.imap import sequence_set
from mailstead.imap.grammar import Arguments, BadSyntax
from mailstead.imap.search_program import Program
from mailstead.imap.selected import Selected
from mailstead.imap.session import Session
from mailstead.mailbox.search import Scope, evaluate

_OPTIONS = (b"MIN", b"MAX", b"ALL", b"COUNT", b"SAVE")


def _options(arguments: Arguments) -> set[bytes] | None:
    """The RETURN options; None without RETURN."""
    if arguments.text[arguments.pos : arguments.pos + 8].upper() != b"RETURN (":
        return None
    arguments.pos += 8
    found: set[bytes] = set()
    first = True
    while not arguments.skip(b")"):
        if not first:
            arguments.space()
        first = False
        name = arguments.keyword()
        if name not in _OPTIONS:
            raise BadSyntax("Unknown RETURN option")
        found.add(name)
    arguments.space()
    return found or {b"ALL"}


def _scope(session: Session, selected: Selected) -> tuple[Scope, list[int] | None]:
    """What to search, and the positions of messages that still exist, None for all."""
    view = selected.view
    mailbox = session.services.mailbox
    if selected.current:
        return Scope(mailbox, view, selected.uids, view.flags, view.modseqs, selected.count), None
    there = []
    bits, modseqs = array("Q", bytes(8 * selected.count)), array("Q", bytes(8 * selected.count))
    for at in range(selected.count):
        index = view.index(selected.uids[at])
        if index >= 0:
            there.append(at)
            bits[at], modseqs[at] = view.flags[index], view.modseqs[index]
    return Scope(mailbox, view, selected.uids, bits, modseqs, selected.count), there


async def _search(session: Session, arguments: Arguments, by_uid: bool) -> bytes:
    arguments.space()
    selected = session.mailbox
    options = _options(arguments)
    if options is not None and b"SAVE" in options:
        saved, selected.saved = selected.saved, ()
        try:
            program = Program(arguments, selected) if b"$" not in arguments.rest() else _with(selected, saved, arguments)
        except BadSyntax:
            selected.saved = saved  # BAD leaves "$" as it was, NO empties it (RFC 5182 section 2.1)
            raise
    else:
        program = Program(arguments, selected)
    if program.wants_modseq:
        session.condstore = True
    scope, there = _scope(session, selected)
    modseqs, uids = scope.modseqs, selected.uids
    while not selected.view.is_durable:
        await selected.view.durable()
    positions = await evaluate(scope, program.key, there)
    if session.selected is not selected:
        return b"NO The mailbox was left"
    if options is None and not session.utf8:
        _plain(session, positions, uids, by_uid, modseqs if program.wants_modseq else None)
    else:
        _extended(session, selected, positions, uids, by_uid, options or {b"ALL"},
                  modseqs if program.wants_modseq else None)  # fmt: skip
    return b"OK SEARCH completed"


def _with(selected: Selected, saved: Sequence[int], arguments: Arguments) -> Program:
    """Parse with the old "$" in force."""
    selected.saved = saved
    try:
        return Program(arguments, selected)
    finally:
        selected.saved = ()


def _numbers(positions: Sequence[int], uids: Sequence[int], by_uid: bool) -> list[int]:
    return [uids[at] for at in positions] if by_uid else [at + 1 for at in positions]


def _plain(
    session: Session, positions: Sequence[int], uids: Sequence[int], by_uid: bool, modseqs: Sequence[int] | None
) -> None:
    numbers = _numbers(positions, uids, by_uid)
    # str() of a list is the fastest way to write many numbers.
    text = str(numbers)[1:-1].replace(",", "").encode("ascii")
    if modseqs is not None and positions:
        text += b" (MODSEQ %d)" % max(modseqs[at] for at in positions)
    session.untagged(b"SEARCH " + text if text else b"SEARCH")


def _extended(
    session: Session, selected: Selected, positions: Sequence[int], uids: Sequence[int], by_uid: bool,
    options: set[bytes], modseqs: Sequence[int] | None,
) -> None:  # fmt: skip
    if b"SAVE" in options:
        kept = positions
        if not options & {b"ALL", b"COUNT"} and options & {b"MIN", b"MAX"}:
            ends = set(positions[:1] if b"MIN" in options else ()) | set(positions[-1:] if b"MAX" in options else ())
            kept = sorted(ends)
        selected.saved = [uids[at] for at in kept]
    if options == {b"SAVE"}:
        return
    numbers = _numbers(positions, uids, by_uid)
    words = [b'ESEARCH (TAG "%b")' % session.tag.replace(b"\\", b"")]
    if by_uid:
        words.append(b"UID")
    if numbers:
        if b"MIN" in options:
            words.append(b"MIN %d" % numbers[0])
        if b"MAX" in options:
            words.append(b"MAX %d" % numbers[-1])
        if b"ALL" in options:
            words.append(b"ALL " + sequence_set.compact(numbers))
    if b"COUNT" in options:
        words.append(b"COUNT %d" % len(numbers))
    if modseqs is not None and positions:
        shown = positions
        if not options & {b"ALL", b"COUNT"}:
            shown = [positions[0] if b"MIN" in options else positions[-1], *(positions[-1:] if b"MAX" in options else ())]
        words.append(b"MODSEQ %d" % max(modseqs[at] for at in shown))
    session.untagged(b" ".join(words))


async def search(session: Session, arguments: Arguments) -> bytes:
    """Find messages, answer with numbers."""
    return await _search(session, arguments, by_uid=False)


async def uid_search(session: Session, arguments: Arguments) -> bytes:
    """Find messages, answer with UIDs."""
    return await _search(session, arguments, by_uid=True)


