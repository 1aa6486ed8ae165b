"""THREAD and UID THREAD (RFC 5256; REFS of draft-ietf-morg-inthread).

Invariants: the answer has the numbers that the session had when the command began; it is written piece by piece, without
recursion.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from mailstead.imap import searching
from mailstead.imap.grammar import Arguments, BadSyntax
from mailstead.imap.progress import Progress
from mailstead.imap.session import Session
from mailstead.mailbox import threading
from mailstead.mailbox.threading import Mail, Node

_ALGORITHMS: dict[bytes, Callable[[Sequence[Mail], Callable[[], Awaitable[None]]], Awaitable[list[Node]]]] = {
    b"ORDEREDSUBJECT": threading.by_subject,
    b"REFERENCES": threading.by_references,
    b"REFS": threading.by_references_only,
}
#: Nodes between two looks at the clock.
_TURN = 200


async def _write(roots: list[Node], number: Callable[[int], int], breathe: Callable[[], Awaitable[None]]) -> bytes:
    """The threads as nested lists: a chain without parentheses, siblings in a pair each (RFC 5256 section 4).

    The threads are used up: what is written can go, without waiting for somebody to look for circles."""
    out: list[str] = []
    turn = 0
    roots.reverse()
    while roots:
        root = roots.pop()
        # What is left to be written, the next at the end: nodes, each to be opened by "(" or a blank, and closing ")".
        pending: list[Node | str] = [")", root, "("]
        while pending:
            turn += 1
            if not turn % _TURN:
                await breathe()
            item = pending.pop()
            if isinstance(item, str):
                out.append(item)
                continue
            item.parent = None
            if item.mail is not None:
                out.append(str(number(item.mail.position)))
                if item.children:
                    out.append(" ")
            if len(item.children) == 1 and item.mail is not None:
                pending.append(item.children[0])
            else:
                for child in reversed(item.children):
                    pending += (")", child, "(")
    return "".join(out).encode("ascii")


async def _thread(session: Session, arguments: Arguments, by_uid: bool) -> bytes:
    arguments.space()
    algorithm = _ALGORITHMS.get(arguments.keyword())
    if algorithm is None:
        raise BadSyntax("Unknown threading algorithm")
    arguments.space()
    filters = await searching.filters_of(session, arguments)
    work = searching.begin(session, arguments, filters, charset_first=True)
    breathe = work.scope.breathe
    with Progress(session) as told:
        read = threading.subjects_of if algorithm is threading.by_subject else threading.mails_of
        mails = await read(work.scope, await work.positions(), told.note)
        roots = await algorithm(mails, breathe)
        mails.clear()  # they go one by one with the threads
        uids = work.uids
        text = await _write(roots, (lambda at: uids[at]) if by_uid else (lambda at: at + 1), breathe)
    if work.left:
        return b"NO The mailbox was left"
    session.untagged(b"THREAD " + text if text else b"THREAD")
    return b"OK %bTHREAD completed" % work.code


async def thread(session: Session, arguments: Arguments) -> bytes:
    """Find messages, answer with numbers in threads."""
    return await _thread(session, arguments, by_uid=False)


async def uid_thread(session: Session, arguments: Arguments) -> bytes:
    """Find messages, answer with UIDs in threads."""
    return await _thread(session, arguments, by_uid=True)
