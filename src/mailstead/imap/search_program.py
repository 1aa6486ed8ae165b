"""The grammar of SEARCH (RFC 9051 section 6.4.4; RFC 7162 MODSEQ, RFC 5032 WITHIN, RFC 5466 FILTER, RFC 6203 FUZZY,
RFC 8474 EMAILID and THREADID, RFC 8514 SAVEDBEFORE and its like) into keys of `mailbox.search`.

Invariants: nesting is at most MAX_DEPTH, keys at most MAX_KEYS, named filters and what they name included; strings are
decoded by the CHARSET, which is US-ASCII or UTF-8.  A program that was parsed once can be parsed again over other
messages (`Program.again`): message numbers, "$" and the time then mean what they meant at first.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Protocol

from mailstead.imap import sequence_set
from mailstead.imap.grammar import MAX_DEPTH, Arguments, BadSyntax, Collector, Line, Unbearable
from mailstead.imap.responses import Refusal
from mailstead.imap.sequence_set import STAR
from mailstead.mailbox.model import ANSWERED, DELETED, DRAFT, FLAGGED, SEEN
from mailstead.mailbox.search import (
    DAY,
    All,
    Among,
    Flags,
    Header,
    Key,
    Modseq,
    Not,
    Number,
    Or,
    SentDay,
    Text,
    conjunction,
)
from mailstead.store.keywords import Keywords

MAX_KEYS = 2000
MAX_MODSEQ = (1 << 63) - 1
#: Sets of message numbers, and messages in them, that a program can remember to be asked again (`Program.pin`).
MAX_PINNED_SETS = 20
MAX_PINNED = 100_000
_CHARSETS = (b"UTF-8", b"US-ASCII")
_date = re.compile(rb'("?)([0-9]{1,2})-([A-Za-z]{3})-([0-9]{4})\1').match
_months = {name: i for i, name in enumerate(b"JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC".split(), 1)}
_EPOCH = date(1970, 1, 1).toordinal()

_FLAG_KEYS = {
    b"ANSWERED": (ANSWERED, True), b"DELETED": (DELETED, True), b"DRAFT": (DRAFT, True), b"FLAGGED": (FLAGGED, True),
    b"SEEN": (SEEN, True), b"UNANSWERED": (ANSWERED, False), b"UNDELETED": (DELETED, False),
    b"UNDRAFT": (DRAFT, False), b"UNFLAGGED": (FLAGGED, False), b"UNSEEN": (SEEN, False),
}  # fmt: skip
_HEADER_KEYS = (b"BCC", b"CC", b"FROM", b"SUBJECT", b"TO")
#: The server keeps no \Recent: nothing is recent, all is old.
_FIXED: dict[bytes, Key] = {b"ALL": All(), b"OLD": All(), b"RECENT": Not(All()), b"NEW": Not(All()),
                          b"SAVEDATESUPPORTED": All()}  # fmt: skip


#: Longest name of a filter (RFC 5466).
MAX_FILTER_NAME = 200


class Numbers(Protocol):
    """The messages that a program is about: what its numbers and UIDs mean, and which keywords there are."""

    def keywords(self) -> Keywords: ...
    def by_uid(self, pairs: Sequence[tuple[int, int]]) -> sequence_set.Ranges: ...
    def by_number(self, octets: bytes) -> sequence_set.Ranges: ...
    def uids_of(self, ranges: sequence_set.Ranges) -> Sequence[int]: ...
    def positions_of(self, uids: Sequence[int]) -> sequence_set.Ranges: ...
    def newest(self) -> int: ...


class Program:
    """A parsed SEARCH. `wants_modseq`: the MODSEQ key was used, so the answer says the highest (RFC 7162).
    `fuzzy`: FUZZY was used.  `unstable`: the answer changes without any event (OLDER, "*" alone), or it would take too much
    to ask again, so that it cannot be kept up to date.

    `charset_first`: SORT and THREAD name the charset always, without the word (RFC 5256).
    """

    def __init__(
        self, arguments: Arguments, numbers: Numbers, filters: Mapping[str, bytes] | None = None, *,
        charset_first: bool = False, again: Program | None = None,
    ) -> None:  # fmt: skip
        self._numbers = numbers
        self._filters = filters or {}
        self._count = 0
        self._in_fuzzy = False
        self._naming: tuple[str, ...] = ()
        self._start = arguments.pos, arguments.text, arguments.literals, charset_first
        self.now: int = again.now if again is not None else int(time.time())
        #: What message numbers and "$" stood for, in the order in which they were met: positions, and after `pin` UIDs.
        self._met: list[sequence_set.Ranges] = []
        self._pinned: list[Sequence[int]] = again._pinned if again is not None else []
        self._next = 0 if again is not None else -1
        self.wants_modseq = self.fuzzy = self.unstable = False
        self._arguments = arguments
        if charset_first:
            self._charset()
        elif arguments.text[arguments.pos : arguments.pos + 8].upper() == b"CHARSET ":
            arguments.pos += 8
            self._charset()
        self.key = self._keys(0)

    def pin(self) -> None:
        """Make ready for `again`; the messages must still be those that were parsed for."""
        if len(self._met) > MAX_PINNED_SETS or sum(map(sequence_set.total, self._met)) > MAX_PINNED:
            self.unstable = True
            return
        self._pinned = [self._numbers.uids_of(ranges) for ranges in self._met]

    def again(self, numbers: Numbers) -> Key:
        """The same keys over other messages."""
        pos, text, literals, charset_first = self._start
        program = Program(Arguments(text, pos, literals), numbers, self._filters, charset_first=charset_first, again=self)
        return program.key

    def _charset(self) -> None:
        if self._arguments.astring().upper() not in _CHARSETS:
            raise Refusal("Unknown charset", "BADCHARSET (UTF-8 US-ASCII)")
        self._arguments.space()

    def _keys(self, depth: int) -> Key:
        keys = [self._key(depth)]
        while not self._arguments.at_end():
            self._arguments.space()
            keys.append(self._key(depth))
        return conjunction(keys)

    def _key(self, depth: int) -> Key:
        if depth > MAX_DEPTH:
            raise BadSyntax("Search nested too deep")
        self._count += 1
        if self._count > MAX_KEYS:
            raise BadSyntax("Too many search keys")
        arguments = self._arguments
        if arguments.skip(b"("):
            keys = [self._key(depth + 1)]
            while not arguments.skip(b")"):
                arguments.space()
                keys.append(self._key(depth + 1))
            return conjunction(keys)
        if arguments.peek() in b"0123456789*$" and arguments.peek():
            return self._numbered(arguments.sequence_set())
        name = arguments.keyword()
        if name in _FIXED:
            return _FIXED[name]
        if name in _FLAG_KEYS:
            bit, present = _FLAG_KEYS[name]
            return Flags(bit, bit if present else 0)
        if name == b"NOT":
            arguments.space()
            return conjunction((Not(self._key(depth + 1)),))
        if name == b"OR":
            arguments.space()
            one = self._key(depth + 1)
            arguments.space()
            return Or((one, self._key(depth + 1)))
        if name in _HEADER_KEYS:
            return Header(name.lower(), self._text(), self._in_fuzzy)
        if name in (b"FILTER", b"FUZZY"):
            arguments.space()
            return self._filter(depth) if name == b"FILTER" else self._fuzzy(depth)
        function = _KEYS.get(name)
        if function is None:
            raise BadSyntax(f"Unknown search key {name[:40].decode('ascii', 'replace')}")
        return function(self)

    def _numbered(self, octets: bytes) -> Key:
        """Message numbers or "$"."""
        if self._next >= 0:
            ranges = self._numbers.positions_of(self._pinned[self._next])
            self._next += 1
        else:
            ranges = self._numbers.by_number(octets)
            self._met.append(ranges)
        return Among(tuple(ranges))

    def _fuzzy(self, depth: int) -> Key:
        before, self._in_fuzzy = self._in_fuzzy, True
        self.fuzzy = True
        try:
            return self._key(depth + 1)
        finally:
            self._in_fuzzy = before

    def _filter(self, depth: int) -> Key:
        """The keys that a filter stands for. Raises Refusal UNDEFINED-FILTER, also for one that names itself."""
        name = self._arguments.astring().decode("utf-8", "replace")
        value = self._filters.get(name.lower()) if len(name) <= MAX_FILTER_NAME else None
        if value is None or name.lower() in self._naming or len(self._naming) > MAX_DEPTH:
            shown = re.sub(r"[^A-Za-z0-9._/-]", "?", name[:MAX_FILTER_NAME]) or "?"
            raise Refusal("There is no such filter", f"UNDEFINED-FILTER {shown}")
        outer, naming = self._arguments, self._naming
        self._naming = (*naming, name.lower())
        try:
            self._arguments = _arguments_of(value)
            if self._arguments.text[:8].upper() == b"CHARSET ":
                self._arguments.pos = 8
                self._charset()
            return self._keys(depth + 1)
        finally:
            self._arguments, self._naming = outer, naming

    def _object(self, letter: str, column: str) -> Key:
        """EMAILID or THREADID; an id that we never gave finds nothing."""
        self._arguments.space()
        text = self._arguments.astring().decode("ascii", "replace")
        digits = text[1:]
        if text[:1] != letter or not digits.isdecimal() or not digits.isascii() or len(digits) > 19:
            return Not(All())
        return Number(column, int(digits), int(digits) + 1)

    def _text(self) -> str:
        self._arguments.space()
        try:
            return self._arguments.astring().decode("utf-8")
        except UnicodeDecodeError:
            raise BadSyntax("Search text is not UTF-8") from None

    def _day(self) -> int:
        """A date as days since 1970."""
        arguments = self._arguments
        arguments.space()
        found = _date(arguments.text, arguments.pos)
        month = _months.get(found[3].upper()) if found else None
        if found is None or month is None:
            raise BadSyntax("Invalid date")
        arguments.pos = found.end()
        try:
            return date(int(found[4]), month, int(found[2])).toordinal() - _EPOCH
        except ValueError:
            raise BadSyntax("Invalid date") from None

    def _number(self) -> int:
        self._arguments.space()
        return self._arguments.number(MAX_MODSEQ)

    def _header(self) -> Key:
        self._arguments.space()
        name = self._arguments.astring().lower()
        if not name or len(name) > 200 or not name.isascii():
            raise BadSyntax("Invalid header field name")
        return Header(name, self._text(), self._in_fuzzy)

    def _keyword(self, present: bool) -> Key:
        self._arguments.space()
        mask, values = self._numbers.keywords().where(self._arguments.atom().decode("ascii"))
        if not values:
            return Not(All()) if present else All()
        found: Key = Or(tuple(Flags(mask, value) for value in values)) if len(values) > 1 else Flags(mask, values[0])
        return found if present else conjunction((Not(found),))

    def _modseq(self) -> Key:
        arguments = self._arguments
        arguments.space()
        if arguments.peek() == b'"':
            arguments.string()
            arguments.space()
            if arguments.keyword() not in (b"PRIV", b"SHARED", b"ALL"):
                raise BadSyntax("Invalid entry type")
            arguments.space()
        self.wants_modseq = True
        return Modseq(arguments.number(MAX_MODSEQ))

    def _uid(self) -> Key:
        self._arguments.space()
        octets = self._arguments.sequence_set()
        if octets == b"$":
            return self._numbered(octets)
        pairs = sequence_set.parse(octets)
        newest = self._numbers.newest()
        if any(STAR in pair and not 0 < max(pair) <= newest for pair in pairs):
            self.unstable = True
        return Among(tuple(self._numbers.by_uid(pairs)))

    def _before(self) -> Key:
        return Number("date", None, self._day() * DAY)

    def _on(self) -> Key:
        day = self._day()
        return Number("date", day * DAY, (day + 1) * DAY)

    def _since(self) -> Key:
        return Number("date", self._day() * DAY)

    def _sent_on(self) -> Key:
        day = self._day()
        return SentDay(day, day + 1)

    def _older(self) -> Key:
        self.unstable = True
        return Number("date", None, self.now - self._number() + 1)

    def _younger(self) -> Key:
        self.unstable = True
        return Number("date", self.now - self._number())

    def _saved_on(self) -> Key:
        day = self._day()
        return Number("saved", day * DAY, (day + 1) * DAY)


def _arguments_of(value: bytes) -> Arguments:
    """The keys of a stored filter, literals in it included. Raises BadSyntax."""
    collector = Collector()
    collector.feed(value.strip() + b"\r\n")
    try:
        while True:
            item = collector.next()
            if isinstance(item, Line):
                if collector.buffered:
                    break
                return Arguments(item.text, 0, item.literals)
            if item is None or item.received + item.size > len(value):
                break
            collector.accept()
    except Unbearable:
        pass  # said below
    raise BadSyntax("The filter is no search program")


_KEYS: dict[bytes, Callable[[Program], Key]] = {
    b"BEFORE": Program._before,
    b"BODY": lambda p: Text(p._text(), False, p._in_fuzzy),
    b"HEADER": Program._header,
    b"KEYWORD": lambda p: p._keyword(True),
    b"UNKEYWORD": lambda p: p._keyword(False),
    b"LARGER": lambda p: Number("size", p._number() + 1),
    b"SMALLER": lambda p: Number("size", None, p._number()),
    b"MODSEQ": Program._modseq,
    b"EMAILID": lambda p: p._object("M", "mid"),
    b"THREADID": lambda p: p._object("T", "thread"),
    b"ON": Program._on,
    b"OLDER": Program._older,
    b"YOUNGER": Program._younger,
    b"SAVEDBEFORE": lambda p: Number("saved", 1, p._day() * DAY),
    b"SAVEDON": Program._saved_on,
    b"SAVEDSINCE": lambda p: Number("saved", p._day() * DAY),
    b"SENTBEFORE": lambda p: SentDay(None, p._day()),
    b"SENTON": Program._sent_on,
    b"SENTSINCE": lambda p: SentDay(p._day()),
    b"SINCE": Program._since,
    b"TEXT": lambda p: Text(p._text(), True, p._in_fuzzy),
    b"UID": Program._uid,
}
