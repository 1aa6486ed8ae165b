"""The grammar of SEARCH (RFC 9051 section 6.4.4; RFC 7162 MODSEQ, RFC 5032 WITHIN) into keys of `mailbox.search`.

Invariants: nesting is at most MAX_DEPTH, keys at most MAX_KEYS; strings are decoded by the CHARSET, which is
US-ASCII or UTF-8.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import date

from mailstead.imap import flags
from mailstead.imap.grammar import MAX_DEPTH, Arguments, BadSyntax
from mailstead.imap.responses import Refusal
from mailstead.imap.selected import Selected
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

MAX_KEYS = 2000
MAX_MODSEQ = (1 << 63) - 1
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
_FIXED: dict[bytes, Key] = {b"ALL": All(), b"OLD": All(), b"RECENT": Not(All()), b"NEW": Not(All())}


class Program:
    """A parsed SEARCH. `wants_modseq`: the MODSEQ key was used, so the answer says the highest (RFC 7162)."""

    def __init__(self, arguments: Arguments, selected: Selected) -> None:
        self._arguments = arguments
        self._selected = selected
        self._count = 0
        self.wants_modseq = False
        if arguments.text[arguments.pos : arguments.pos + 8].upper() == b"CHARSET ":
            arguments.pos += 8
            if arguments.astring().upper() not in _CHARSETS:
                raise Refusal("Unknown charset", "BADCHARSET (UTF-8 US-ASCII)")
            arguments.space()
        keys = [self._key(0)]
        while not arguments.at_end():
            arguments.space()
            keys.append(self._key(0))
        self.key = conjunction(keys)

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
            return Among(tuple(self._selected.resolve(arguments.sequence_set(), by_uid=False)))
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
            return Header(name.lower(), self._text())
        function = _KEYS.get(name)
        if function is None:
            raise BadSyntax(f"Unknown search key {name[:40].decode('ascii', 'replace')}")
        return function(self)

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
        return Header(name, self._text())

    def _keyword(self, present: bool) -> Key:
        self._arguments.space()
        bit = flags.bit_of(self._arguments.atom().decode("ascii"), self._selected.view.keywords)
        if not bit:
            return Not(All()) if present else All()
        return Flags(bit, bit if present else 0)

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
        return Among(tuple(self._selected.resolve(self._arguments.sequence_set(), by_uid=True)))

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
        return Number("date", None, int(time.time()) - self._number() + 1)

    def _younger(self) -> Key:
        return Number("date", int(time.time()) - self._number())


_KEYS: dict[bytes, Callable[[Program], Key]] = {
    b"BEFORE": Program._before,
    b"BODY": lambda p: Text(p._text(), headers=False),
    b"HEADER": Program._header,
    b"KEYWORD": lambda p: p._keyword(True),
    b"UNKEYWORD": lambda p: p._keyword(False),
    b"LARGER": lambda p: Number("size", p._number() + 1),
    b"SMALLER": lambda p: Number("size", None, p._number()),
    b"MODSEQ": Program._modseq,
    b"ON": Program._on,
    b"OLDER": Program._older,
    b"YOUNGER": Program._younger,
    b"SENTBEFORE": lambda p: SentDay(None, p._day()),
    b"SENTON": Program._sent_on,
    b"SENTSINCE": lambda p: SentDay(p._day()),
    b"SINCE": Program._since,
    b"TEXT": lambda p: Text(p._text(), headers=True),
    b"UID": Program._uid,
}
