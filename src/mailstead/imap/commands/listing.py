"""LIST with its extended forms and LSUB (RFC 9051 section 6.3.9, RFC 5258, RFC 5819, RFC 6154, RFC 8440, RFC 9590,
RFC 3501 6.3.9).

Invariants: a pattern is matched without back-tracking, whatever its number of wildcards; a parent that has only
children (it was never made, or only subscribed) is \\NonExistent.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from mailstead.imap.commands import status
from mailstead.imap.commands.metadata import entry_names, found_for, response
from mailstead.imap.grammar import Arguments, BadSyntax
from mailstead.imap.session import Session
from mailstead.mailbox.errors import RightMissing
from mailstead.mailbox.model import SEPARATOR, Folder

MAX_PATTERNS = 50
MAX_PATTERN = 1000

_SELECTIONS = (b"SUBSCRIBED", b"REMOTE", b"RECURSIVEMATCH", b"SPECIAL-USE")
_RETURNS = (b"SUBSCRIBED", b"CHILDREN", b"SPECIAL-USE", b"MYRIGHTS")


def matches(name: str, pattern: str) -> bool:
    """Whether a name fits a pattern: "*" is any run of characters, "%" one without a separator.

    The set of positions in the pattern that the name read so far can be at is carried along: linear in
    name times pattern.
    """
    if "*" not in pattern and "%" not in pattern:
        return name == pattern
    if pattern == "*":
        return True

    def closure(states: Iterable[int]) -> set[int]:
        found: set[int] = set()
        for state in states:
            while state not in found:
                found.add(state)
                if state < len(pattern) and pattern[state] in "*%":
                    state += 1
                else:
                    break
        return found

    states = closure([0])
    for character in name:
        after = []
        for state in states:
            if state < len(pattern):
                sign = pattern[state]
                if sign == "*" or (sign == "%" and character != SEPARATOR):
                    after.append(state)
                elif sign == character:
                    after.append(state + 1)
        states = closure(after)
        if not states:
            return False
    return len(pattern) in states


def fits(name: str, patterns: Sequence[str]) -> bool:
    """Whether a name fits one of the patterns; INBOX in any case."""
    if any(matches(name, pattern) for pattern in patterns):
        return True
    return name == "INBOX" and any(matches(name, pattern.upper()) for pattern in patterns)


@dataclass(slots=True)
class Query:
    """A LIST command."""

    patterns: list[str] = field(default_factory=list)
    selections: set[bytes] = field(default_factory=set)
    returns: set[bytes] = field(default_factory=set)
    status: tuple[bytes, ...] = ()
    metadata: list[str] = field(default_factory=list)
    extended: bool = False
    empty: bool = False


def _selections(arguments: Arguments, query: Query) -> None:
    query.extended = True
    while not arguments.skip(b")"):
        if query.selections:
            arguments.space()
        name = arguments.keyword()
        if name not in _SELECTIONS:
            raise BadSyntax("Unknown LIST selection option")
        query.selections.add(name)
    if b"RECURSIVEMATCH" in query.selections and not query.selections - {b"RECURSIVEMATCH", b"REMOTE"}:
        raise BadSyntax("RECURSIVEMATCH needs another selection option")
    arguments.space()


def _returns(arguments: Arguments, query: Query) -> None:
    query.extended = True
    if arguments.keyword() != b"RETURN":
        raise BadSyntax("Expected RETURN")
    arguments.space()
    arguments.expect(b"(")
    first = True
    while not arguments.skip(b")"):
        if not first:
            arguments.space()
        first = False
        name = arguments.keyword()
        if name == b"STATUS":
            arguments.space()
            query.status = status.parse_items(arguments)
        elif name == b"METADATA":
            arguments.space()
            if arguments.peek() != b"(":
                raise BadSyntax("Expected entry names in parentheses")
            query.metadata = entry_names(arguments)
        elif name in _RETURNS:
            query.returns.add(name)
        else:
            raise BadSyntax("Unknown LIST return option")


def _pattern(session: Session, reference: str, octets: bytes) -> str:
    if len(octets) > MAX_PATTERN:
        raise BadSyntax("Pattern too long")
    name = session.shown_name(octets)
    return name if name.startswith(SEPARATOR) else reference + name


def _parse(session: Session, arguments: Arguments) -> Query:
    query = Query()
    arguments.space()
    if arguments.skip(b"("):
        _selections(arguments, query)
    reference = session.shown_name(arguments.astring())
    arguments.space()
    if arguments.skip(b"("):
        query.extended = True
        while True:
            query.patterns.append(_pattern(session, reference, arguments.list_mailbox()))
            if arguments.skip(b")"):
                break
            arguments.space()
            if len(query.patterns) >= MAX_PATTERNS:
                raise BadSyntax("Too many patterns")
    else:
        octets = arguments.list_mailbox()
        query.empty = not octets
        query.patterns.append(_pattern(session, reference, octets))
    if not arguments.at_end():
        arguments.space()
        _returns(arguments, query)
    arguments.end()
    return query


def _ancestors(name: str) -> Iterable[str]:
    while SEPARATOR in name:
        name = name.rpartition(SEPARATOR)[0]
        yield name


def list_line(session: Session, folder: Folder, *attributes: str) -> bytes:
    """A LIST response without its leading star."""
    return b'LIST (%b) "/" %b' % (" ".join(attributes).encode("ascii"), session.mailbox_text(folder.name))


async def list_mailboxes(session: Session, arguments: Arguments) -> bytes:
    """List mailboxes."""
    query = _parse(session, arguments)
    if query.empty and not query.extended:
        session.untagged(b'LIST (\\Noselect) "/" ""')
        return b"OK LIST completed"
    mailbox = session.services.mailbox
    every = session.options.imapShowAllFolders  # feature IMP-05
    folders = {f.name: f for f in await mailbox.visible(session.account_id) if every or f.kind == "mail"}
    subscribed = set(await mailbox.subscriptions(session.account_id))
    parents = {parent for name in folders for parent in _ancestors(name)}
    only_subscribed = b"SUBSCRIBED" in query.selections
    names = dict.fromkeys([*folders, *sorted(parents - folders.keys())])
    if only_subscribed:
        names = dict.fromkeys([n for n in names if n in subscribed] + sorted(subscribed - names.keys()))
    if b"SPECIAL-USE" in query.selections:
        names = {n: None for n in names if n in folders and folders[n].special_use}
    shown = session.names.shown if session.names is not None else str
    selected = {n for n in names if fits(shown(n), query.patterns)}
    by_children: set[str] = set()
    if b"RECURSIVEMATCH" in query.selections:
        by_children = {p for n in names for p in _ancestors(n) if fits(shown(p), query.patterns)}
    for name in sorted(selected | by_children, key=lambda n: (n != "INBOX", n)):
        folder = folders.get(name)
        words = [] if folder else ["\\NonExistent"] if query.extended or session.rev2 else ["\\Noselect"]
        words.append("\\HasChildren" if name in parents else "\\HasNoChildren")
        if name in subscribed and (only_subscribed or b"SUBSCRIBED" in query.returns):
            words.append("\\Subscribed")
        if folder and folder.special_use:
            words.append(folder.special_use)
        line = b'LIST (%b) "/" %b' % (" ".join(words).encode("ascii"), session.mailbox_text(name))
        if name in by_children and (only_subscribed or name not in selected):
            kind = b"SUBSCRIBED" if only_subscribed else b"SPECIAL-USE"
            line += b' ("CHILDINFO" ("%b"))' % kind
        session.untagged(line)
        if folder is not None:
            await _returned(session, folder, query)
    return b"OK LIST completed"


async def _returned(session: Session, folder: Folder, query: Query) -> None:
    """What was asked for beside the LIST response of a folder; what the user has no right to is left out."""
    if b"MYRIGHTS" in query.returns:  # RFC 8440
        session.untagged(b"MYRIGHTS %b %b" % (session.mailbox_text(folder.name), folder.rights.encode("ascii")))
    if query.status and "r" in folder.rights:
        await status.respond(session, folder, query.status)
    if query.metadata and "l" in folder.rights:  # RFC 9590
        try:
            entries = await session.services.mailbox.metadata(session.account_id, folder)
        except RightMissing:
            return
        found = found_for(entries, query.metadata, 0)
        session.untagged(response(session, session.mailbox_text(folder.name), found))


async def lsub(session: Session, arguments: Arguments) -> bytes:
    """List subscribed mailboxes, and with "%" parents of such as \\Noselect (RFC 3501 section 6.3.9)."""
    arguments.space()
    reference = session.shown_name(arguments.astring())
    arguments.space()
    patterns = [_pattern(session, reference, arguments.list_mailbox())]
    arguments.end()
    subscribed = set(await session.services.mailbox.subscriptions(session.account_id))
    shown = session.names.shown if session.names is not None else str
    found = {name: b"" for name in subscribed if fits(shown(name), patterns)}
    if patterns[0].endswith("%"):
        for name in subscribed:
            if name not in found:
                for parent in _ancestors(name):
                    if parent not in found and fits(shown(parent), patterns):
                        found[parent] = b"\\Noselect"
    for name in sorted(found, key=lambda n: (n != "INBOX", n)):
        session.untagged(b'LSUB (%b) "/" %b' % (found[name], session.mailbox_text(name)))
    return b"OK LSUB completed"
