"""FETCH item lists (RFC 9051 section 6.4.5), parsed once and kept.

Invariants: a `FetchList` is immutable and shared by all sessions; two requests that differ only in case or in a
macro give equal `key`s, so that rendered blocks are shared too.  An item is either an *attribute*, which the
index holds ready and rendering merely copies, or a *body*, for which octets of the message are read.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from mailstead.imap.grammar import Arguments, BadSyntax
from mailstead.imap.responses import astring
from mailstead.message.dates import imap_date_time
from mailstead.message.imap_strings import quote
from mailstead.message.index import MAX_FIELDS, STORED_FIELDS
from mailstead.message.sections import filter_header_fields

MAX_ITEMS = 200
MAX_FIELDS_NAMED = 200
MAX_PART_DEPTH = 60

_item_name = re.compile(rb"[A-Za-z0-9.]+").match
_part_number = re.compile(rb"[1-9][0-9]{0,5}(?:\.[1-9][0-9]{0,5})*").match
_partial = re.compile(rb"<([0-9]{1,10})\.([0-9]{1,10})>").match
_section_text = re.compile(rb"HEADER\.FIELDS\.NOT|HEADER\.FIELDS|HEADER|TEXT|MIME", re.I).match

_lazy = re.compile(rb" \(LAZY\)", re.I).match

_MACROS = {
    b"ALL": (b"FLAGS", b"INTERNALDATE", b"RFC822.SIZE", b"ENVELOPE"),
    b"FAST": (b"FLAGS", b"INTERNALDATE", b"RFC822.SIZE"),
    b"FULL": (b"FLAGS", b"INTERNALDATE", b"RFC822.SIZE", b"ENVELOPE", b"BODY"),
}

_days: dict[int, bytes] = {}
_minutes = [b"%02d:%02d:" % divmod(minute, 60) for minute in range(1440)]
_seconds = [b'%02d +0000"' % second for second in range(60)]


def internal_date(seconds: int) -> bytes:
    """INTERNALDATE as a quoted string: put together from tables, as it is made for every row."""
    day, rest = divmod(seconds, 86400)
    minute, second = divmod(rest, 60)
    head = _days.get(day)
    if head is None:
        if len(_days) > 20000:
            _days.clear()
        head = _days[day] = b'"' + imap_date_time(day * 86400)[:12].encode("ascii")
    return head + _minutes[minute] + _seconds[second]


@dataclass(frozen=True, slots=True)
class Attribute:
    """An item that is copied from arrays or rows: `column` is uid, flags, modseq or a column of the row.

    `fragment` is its text with one %b or %d; `convert` makes the value of the column ready for it.
    """

    name: bytes
    fragment: bytes
    column: str
    convert: Callable[[Any], Any] | None = None


@dataclass(frozen=True, slots=True)
class Body:
    """An item that needs octets: BODY[section]<partial>, BINARY, BINARY.SIZE and the RFC822 forms.

    `text` is "", HEADER, TEXT, MIME, FIELDS or FIELDS.NOT; `start`/`length` are the partial, length -1 for all.
    `label` is what stands before the value in the response.
    """

    label: bytes
    part: tuple[int, ...] = ()
    text: str = ""
    fields: frozenset[bytes] = frozenset()
    start: int = 0
    length: int = -1
    peek: bool = True
    binary: bool = False
    size_only: bool = False


def _nil(value: bytes | None) -> bytes:
    return b"NIL" if value is None else value


def _preview(value: str | None) -> bytes:
    return b"NIL" if value is None else quote(value.encode("utf-8", "replace"))


def _saved(seconds: int) -> bytes:
    return internal_date(seconds) if seconds else b"NIL"


_ATTRIBUTES = {
    b"UID": Attribute(b"UID", b"UID %d", "uid"),
    b"FLAGS": Attribute(b"FLAGS", b"FLAGS %b", "flags"),
    b"MODSEQ": Attribute(b"MODSEQ", b"MODSEQ (%d)", "modseq"),
    b"RFC822.SIZE": Attribute(b"RFC822.SIZE", b"RFC822.SIZE %d", "size"),
    b"INTERNALDATE": Attribute(b"INTERNALDATE", b"INTERNALDATE %b", "date", internal_date),
    b"ENVELOPE": Attribute(b"ENVELOPE", b"ENVELOPE %b", "envelope", None),
    b"BODY": Attribute(b"BODY", b"BODY %b", "body", None),
    b"BODYSTRUCTURE": Attribute(b"BODYSTRUCTURE", b"BODYSTRUCTURE %b", "bodystructure", None),
    b"EMAILID": Attribute(b"EMAILID", b"EMAILID (M%d)", "mid"),
    b"THREADID": Attribute(b"THREADID", b"THREADID (T%d)", "thread"),
    b"SAVEDATE": Attribute(b"SAVEDATE", b"SAVEDATE %b", "saved", _saved),
    b"PREVIEW": Attribute(b"PREVIEW", b"PREVIEW %b", "preview", _preview),
}
UID, FLAGS, MODSEQ = (_ATTRIBUTES[name] for name in (b"UID", b"FLAGS", b"MODSEQ"))
ARRAY_COLUMNS = frozenset(("uid", "flags", "modseq"))
#: A header up to this size has all its usual fields in the index, whatever its line ends were.
COMPLETE_HEADER = MAX_FIELDS // 2


class IncompleteFields(Exception):
    """The stored header fields of a message were cut at their limit; its header must be read."""


@dataclass(eq=False)
class FetchList:
    """A parsed list. `columns` are those of rows that the attributes need; `volatile`: flags or modseq are shown;
    `uid_only`: responses are UIDFETCH and begin with the UID (RFC 9586)."""

    attributes: tuple[Attribute, ...]
    bodies: tuple[Body, ...]
    uid_only: bool = False
    key: bytes = field(init=False)
    columns: tuple[str, ...] = field(init=False)
    volatile: bool = field(init=False)
    template: bytes = field(init=False)

    def __post_init__(self) -> None:
        self.key = b"U " * self.uid_only + b" ".join([*(a.name for a in self.attributes), *(b.label for b in self.bodies)])
        columns = dict.fromkeys(a.column for a in self.attributes if a.column not in ARRAY_COLUMNS)
        if "fields" in columns:
            columns["header_size"] = None  # tells whether the stored fields are all of them
        self.columns = tuple(columns)
        self.volatile = any(a.column in ("flags", "modseq") for a in self.attributes)
        self.template = self.head + b" ".join(a.fragment for a in self.attributes) + b")\r\n"
        self._many: bytes = b""
        self._derived: dict[tuple[bytes, ...], FetchList] = {}

    @property
    def head(self) -> bytes:
        """How a response begins, with a place for the number."""
        return b"* %d UIDFETCH (" if self.uid_only else b"* %d FETCH ("

    @property
    def uid_form(self) -> FetchList:
        """This list for sessions that enabled UIDONLY."""
        if self.uid_only:
            return self
        derived = self._derived.get((b"UIDFETCH",))
        if derived is None:
            derived = self._derived[(b"UIDFETCH",)] = FetchList(self.attributes, self.bodies, True)
        return derived

    @property
    def sets_seen(self) -> bool:
        """Whether fetching marks as seen."""
        return any(not body.peek for body in self.bodies)

    @property
    def wants_modseq(self) -> bool:
        """Whether MODSEQ is asked for, which is CONDSTORE-enabling (RFC 7162 section 3.1)."""
        return MODSEQ in self.attributes

    def templates(self, count: int, block: int) -> bytes:
        """The template `count` times; the one for a whole block is kept."""
        if count != block:
            return self.template * count
        if not self._many:
            self._many = self.template * block
        return self._many

    def with_attributes(self, *more: Attribute) -> FetchList:
        """This list with further attributes in front, where it does not have them."""
        missing = tuple(a for a in more if a not in self.attributes)
        if not missing:
            return self
        names = tuple(a.name for a in missing)
        derived = self._derived.get(names)
        if derived is None:
            derived = self._derived[names] = FetchList(missing + self.attributes, self.bodies, self.uid_only)
        return derived


def _stored_fields(names: frozenset[bytes]) -> Callable[[bytes], bytes]:
    """Renders HEADER.FIELDS from the stored header fields."""

    def convert(fields: bytes) -> bytes:
        found = filter_header_fields(fields, names)
        return b"{%d}\r\n%b" % (len(found), found)

    return convert


def _section(arguments: Arguments, name: bytes) -> tuple[tuple[int, ...], str, frozenset[bytes], bytes]:
    """[section] after BODY or BINARY: part, text, field names, and the label as it goes into the response."""
    arguments.expect(b"[")
    part: tuple[int, ...] = ()
    found = _part_number(arguments.text, arguments.pos)
    label = b""
    if found:
        part = tuple(map(int, found[0].split(b".")))
        if len(part) > MAX_PART_DEPTH:
            raise BadSyntax("Part number too deep")
        label = found[0]
        arguments.pos = found.end()
        if arguments.peek() == b".":
            arguments.pos += 1
            label += b"."
        elif arguments.skip(b"]"):
            return part, "", frozenset(), label
        else:
            raise BadSyntax("Invalid section")
    elif arguments.skip(b"]"):
        return (), "", frozenset(), b""
    text = _section_text(arguments.text, arguments.pos)
    if text is None or name == b"BINARY":
        raise BadSyntax("Invalid section")
    arguments.pos = text.end()
    kind = text[0].upper()
    label += kind
    fields: frozenset[bytes] = frozenset()
    if kind.startswith(b"HEADER.FIELDS"):
        arguments.space()
        arguments.expect(b"(")
        names: list[bytes] = [arguments.astring()]
        while not arguments.skip(b")"):
            arguments.space()
            names.append(arguments.astring())
            if len(names) > MAX_FIELDS_NAMED:
                raise BadSyntax("Too many header fields")
        label += b" (" + b" ".join(map(astring, names)) + b")"
        fields = frozenset(one.upper() for one in names)
        kind = kind[7:]
    elif kind == b"MIME" and not part:
        raise BadSyntax("MIME needs a part number")
    arguments.expect(b"]")
    return part, kind.decode("ascii"), fields, label


def _body_item(arguments: Arguments, name: bytes, peek: bool) -> Attribute | Body:
    base, _, suffix = name.partition(b".")
    part, text, fields, section = _section(arguments, base)
    size_only = suffix == b"SIZE"
    label = (b"BINARY.SIZE[" if size_only else base + b"[") + section + b"]"
    start, length = 0, -1
    if not size_only and (found := _partial(arguments.text, arguments.pos)):
        start, length = int(found[1]), int(found[2])
        if length == 0:
            raise BadSyntax("Invalid partial")
        arguments.pos = found.end()
        label += b"<%d>" % start
    if text == "FIELDS" and not part and length < 0 and peek and fields <= STORED_FIELDS:
        return Attribute(label, label.replace(b"%", b"%%") + b" %b", "fields", _stored_fields(fields))
    return Body(label, part, text, fields, start, length, peek or size_only, base == b"BINARY", size_only)


def body_item(arguments: Arguments, start: int, length: int, binary: bool = False) -> Body:
    """The body item of the [section] at the cursor, which must end there, for `start` and `length`. Raises BadSyntax."""
    part, text, fields, section = _section(arguments, b"BINARY" if binary else b"BODY")
    arguments.end()
    return Body(section, part, text, fields, start, length, binary=binary)


def _item(arguments: Arguments) -> Attribute | Body:
    found = _item_name(arguments.text, arguments.pos)
    if found is None:
        raise BadSyntax("Expected a FETCH item")
    arguments.pos = found.end()
    name = found[0].upper()
    if arguments.peek() == b"[":
        if name in (b"BODY", b"BINARY"):
            return _body_item(arguments, name, peek=False)
        if name in (b"BODY.PEEK", b"BINARY.PEEK"):
            return _body_item(arguments, name, peek=True)
        if name == b"BINARY.SIZE":
            return _body_item(arguments, name, peek=True)
    attribute = _ATTRIBUTES.get(name)
    if attribute is not None:
        if name == b"PREVIEW" and (lazy := _lazy(arguments.text, arguments.pos)):
            # RFC 8970 section 3.1: previews are made at delivery, so that LAZY asks for what is there anyway.
            arguments.pos = lazy.end()
        return attribute
    if name == b"RFC822":
        return Body(b"RFC822", peek=False)
    if name == b"RFC822.HEADER":
        return Body(b"RFC822.HEADER", text="HEADER")
    if name == b"RFC822.TEXT":
        return Body(b"RFC822.TEXT", text="TEXT", peek=False)
    raise BadSyntax(f"Unknown FETCH item {name[:40].decode('ascii', 'replace')}")


def parse(arguments: Arguments) -> FetchList:
    """The items at the cursor: a macro, one item or a parenthesised list. Raises BadSyntax."""
    items: list[Attribute | Body] = []
    if arguments.skip(b"("):
        while True:
            items.append(_item(arguments))
            if arguments.skip(b")"):
                break
            arguments.space()
            if len(items) > MAX_ITEMS:
                raise BadSyntax("Too many FETCH items")
    else:
        found = _item_name(arguments.text, arguments.pos)
        macro = _MACROS.get(found[0].upper()) if found else None
        if found and macro and arguments.text[found.end() : found.end() + 1] != b"[":
            arguments.pos = found.end()
            items += (_ATTRIBUTES[name] for name in macro)
        else:
            items.append(_item(arguments))
    unique: dict[bytes, Attribute | Body] = {}
    for item in items:
        name = item.name if isinstance(item, Attribute) else item.label + (b"" if item.peek else b"!")
        unique.setdefault(name, item)
    return FetchList(
        tuple(item for item in unique.values() if isinstance(item, Attribute)),
        tuple(item for item in unique.values() if isinstance(item, Body)),
    )


def with_read_fields(items: FetchList) -> FetchList:
    """`items` with header fields read from the messages instead of the index."""
    plain = tuple(a for a in items.attributes if a.column != "fields")
    read = tuple(Body(a.name, text="FIELDS", fields=_named(a.name)) for a in items.attributes if a.column == "fields")
    return FetchList(plain, read + items.bodies, items.uid_only)


def _named(label: bytes) -> frozenset[bytes]:
    arguments = Arguments(label, len(b"BODY"))
    return _section(arguments, b"BODY")[2]


@lru_cache(maxsize=256)
def _parse_whole(octets: bytes) -> FetchList:
    arguments = Arguments(octets)
    items = parse(arguments)
    arguments.end()
    return items


def parse_cached(arguments: Arguments) -> tuple[FetchList, bool]:
    """The items at the cursor, and whether they were the end of the command."""
    rest = arguments.rest()
    if len(rest) <= 300 and b"\0" not in rest:
        try:
            items = _parse_whole(rest)
        except BadSyntax:
            pass  # modifiers may follow, and the error is found again
        else:
            arguments.pos = len(arguments.text)
            return items, True
    return parse(arguments), False
