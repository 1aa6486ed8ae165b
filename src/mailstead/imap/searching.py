"""What SEARCH, SORT, THREAD and ESEARCH have in common: filters, the scope, "$", and how an answer begins.

Invariants: numbers in an answer are those that the session had when the command began; BAD leaves "$" as it was and NO
empties it (RFC 5182 section 2.1); nothing is shown that is not durable.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence

from mailstead.imap import progress
from mailstead.imap.grammar import Arguments, BadSyntax
from mailstead.imap.progress import Progress
from mailstead.imap.responses import Refusal
from mailstead.imap.search_numbers import NO_NUMBERS, UID_REQUIRED, InSelected
from mailstead.imap.search_program import Program
from mailstead.imap.search_return import Returning
from mailstead.imap.selected import Selected
from mailstead.imap.session import Session
from mailstead.mailbox.search import Scope, evaluate
from mailstead.mailbox.search_keys import cost

#: Cost of the keys from which on rows are read (`search_keys.cost`).
_READS = 10
_FILTERS = ("/shared/filters/values/", "/private/filters/values/")


async def filters_of(session: Session, arguments: Arguments) -> Mapping[str, bytes]:
    """Name to search program of the account's filters (RFC 5466), where the command may name one."""
    if b"FILTER" not in arguments.rest().upper():
        return {}
    entries = await session.services.mailbox.metadata(session.account_id, None)
    found: dict[str, bytes] = {}
    for start in _FILTERS:
        found.update({name.removeprefix(start): value for name, value in entries.items() if name.startswith(start)})
    return found


def check_charset(session: Session, arguments: Arguments) -> None:
    """After ENABLE UTF8=ACCEPT a search names no charset (RFC 9755 section 3). Raises BadSyntax."""
    if b"UTF8=ACCEPT" in session.enabled and arguments.text[arguments.pos : arguments.pos + 8].upper() == b"CHARSET ":
        raise BadSyntax("After ENABLE UTF8=ACCEPT everything is UTF-8; name no charset")


class Searching:
    """One search of the selected mailbox in progress. `code` goes into the reply: what was not searched."""

    def __init__(self, session: Session, program: Program, scope: Scope, there: Sequence[int] | None) -> None:
        self.session = session
        self.selected = session.mailbox
        self.program = program
        self.scope = scope
        self.uids = self.selected.uids
        self.event_no = self.selected.view.event_no
        self.modseq = self.selected.view.highest_modseq
        self.newest = self.uids[self.selected.count - 1] if self.selected.count else 0
        self.code = b""
        if self.selected.count > progress.MESSAGE_LIMIT:
            first = self.selected.count - progress.MESSAGE_LIMIT
            self.code = b"[MESSAGELIMIT %d %d] " % (progress.MESSAGE_LIMIT, self.uids[first])
            there = range(first, self.selected.count) if there is None else [at for at in there if at >= first]
        self._there = there

    async def positions(self) -> Sequence[int]:
        """What is found, in the order of the mailbox."""
        while not self.selected.view.is_durable:
            await self.selected.view.durable()
        return await evaluate(self.scope, self.program.key, self._there)

    async def found(self) -> Sequence[int]:
        """The same, with word of the progress where it may take long."""
        if cost(self.program.key) < _READS:
            return await self.positions()
        with Progress(self.session):
            return await self.positions()

    @property
    def left(self) -> bool:
        """The mailbox was left meanwhile."""
        return self.session.selected is not self.selected

    @property
    def modseqs(self) -> Sequence[int] | None:
        """Modseqs by position, where the highest is to be told."""
        return self.scope.modseqs if self.program.wants_modseq else None


def _scope(session: Session, selected: Selected) -> tuple[Scope, list[int] | None]:
    """What to search, and the positions of messages that still exist, None for all."""
    view = selected.view
    mailbox = session.services.mailbox
    if selected.current:
        return Scope(mailbox, view, selected.uids, view.flags, view.modseqs, selected.count), None
    # Between two messages that are gone the session's array and the view's run parallel.
    there: list[int] = []
    bits, modseqs = array("Q", bytes(8 * selected.count)), array("Q", bytes(8 * selected.count))
    start = shift = 0
    for end in (*selected.gone(), selected.count):
        there += range(start, end)
        bits[start:end], modseqs[start:end] = view.flags[start - shift : end - shift], view.modseqs[start - shift : end - shift]
        start, shift = end + 1, shift + 1
    return Scope(mailbox, view, selected.uids, bits, modseqs, selected.count), there


def begin(
    session: Session, arguments: Arguments, filters: Mapping[str, bytes], returning: Returning | None = None, *,
    charset_first: bool = False, fuzzy: bool = False, numbers: bool = True,
) -> Searching:  # fmt: skip
    """Parse the search program at the cursor and take hold of what it is about. `fuzzy`: relevancy is wanted, so that there
    must be a FUZZY key; `numbers`: message numbers make sense. Raises BadSyntax, Refusal."""
    selected = session.mailbox
    save = returning is not None and returning.save
    fuzzy = fuzzy or (returning is not None and b"RELEVANCY" in returning.options)
    refusal = UID_REQUIRED if session.uidonly else "" if numbers else NO_NUMBERS
    try:
        program = Program(arguments, InSelected(selected, refusal), filters, charset_first=charset_first)
    except Refusal:
        if save:
            selected.saved = ()
        raise
    if fuzzy and not program.fuzzy:
        raise BadSyntax("RELEVANCY makes sense for a FUZZY search only")
    if save:
        selected.saved = ()
    if returning is not None and returning.update:
        program.pin()
    if program.wants_modseq:
        session.condstore = True
    return Searching(session, program, *_scope(session, selected))
