"""Threads of messages (RFC 5256 section 3: ORDEREDSUBJECT, REFERENCES; draft-ietf-morg-inthread: REFS); knows no protocol.

Invariants: every message is in exactly one thread, once; whatever References say, there is no loop, time is linear
(sorting and a bounded search for loops aside) and nothing recurses; the loop is never held for more than some
milliseconds.

How: messages and those that are only referred to are `Node`s in a forest; ids are kept as hashes of eight octets.  A link is
refused where it would close a loop; looking for one walks towards the root, at most `STEPS` times the number of messages
in all, and of `MAX_LINKS` references in all the newest of each message count: whoever makes more of it gets flatter
threads.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from mailstead.mailbox.collation import MAX_KEPT
from mailstead.mailbox.search_scope import ROWS, Scope, rows_of
from mailstead.mailbox.sorting import Note, sorted_slowly
from mailstead.message.headers import iter_fields
from mailstead.message.threading import MAX_REFERENCES, field_ids, subject_of

Breathe = Callable[[], Awaitable[None]]
#: Messages between two looks at the clock.
_TURN = 200
#: Steps per message towards the root, on average, that looking for loops may take.
STEPS = 100
#: References that are looked at, of all messages together.
MAX_LINKS = 1_000_000
MIN_REFERENCES = 4
_COLUMNS = ("message_id", "sent", "date", "fields")


@dataclass(slots=True)
class Mail:
    """What threading knows of a message. `sent` is unix seconds (RFC 5256 section 2.2); ids are hashes, 0 for none, `references`
    the oldest first."""

    position: int
    message_id: int
    references: tuple[int, ...]
    subject: str
    reply: bool
    sent: int


#: Most nodes have no children, and a list each would be more for the garbage collector to look through.
_NONE: list[Node] = []


class Node:
    """A message in a forest, or (`mail` is None) one that is only referred to."""

    __slots__ = ("children", "count", "mail", "parent")

    def __init__(self, mail: Mail | None = None) -> None:
        self.mail = mail
        self.parent: Node | None = None
        #: Nodes that have this one as their parent; `children` lists them once all parents are known.
        self.count = 0
        self.children: list[Node] = _NONE

    def hang(self, parent: Node | None) -> None:
        """Put it below another, out of where it was."""
        if self.parent is not None:
            self.parent.count -= 1
        self.parent = parent
        if parent is not None:
            parent.count += 1

    def add(self, child: Node) -> None:
        """List a child."""
        if self.children is _NONE:
            self.children = [child]
        else:
            self.children.append(child)

    def adopt(self, child: Node) -> None:
        """Make it the last child."""
        child.parent = self
        self.add(child)

    def date(self) -> tuple[int, int]:
        """By what siblings are sorted: the sent date, then the order of the mailbox (RFC 5256 section 2.2). That of a node
        without a message is its first child's."""
        node = self
        while node.mail is None:
            node = node.children[0]
        return node.mail.sent, node.mail.position


_kept_subject = lru_cache(maxsize=4096)(subject_of)


def _subject(value: bytes) -> tuple[str, bool]:
    return _kept_subject(value) if len(value) <= MAX_KEPT else subject_of(value)


def _mail(position: int, limit: int, message_id: str, sent: int, date: int, fields: bytes) -> Mail:
    references = reply_to = subject = None
    for name, _, value in iter_fields(fields):
        lowered = name.lower()
        if lowered == b"references" and references is None:
            references = value
        elif lowered == b"in-reply-to" and reply_to is None:
            reply_to = value
        elif lowered == b"subject" and subject is None:
            subject = value
    ids = field_ids(references, limit) if references else []
    if not ids and reply_to:
        ids = field_ids(reply_to, MAX_REFERENCES)[:1]
    base, reply = _subject(subject) if subject is not None else ("", False)
    return Mail(position, _hashed(message_id) if message_id else 0, tuple(map(_hashed, ids)), base, reply, sent or date)


def _hashed(id: str) -> int:
    return hash(id) or 1


async def mails_of(scope: Scope, positions: Sequence[int], note: Note) -> list[Mail]:
    """What threading needs of those messages that still exist."""
    found: list[Mail] = []
    limit = min(max(MAX_LINKS // max(len(positions), 1), MIN_REFERENCES), MAX_REFERENCES)
    for start in range(0, len(positions), ROWS // 4):
        await scope.breathe()
        note(start, len(positions))
        rows = await rows_of(scope, positions[start : start + ROWS // 4], _COLUMNS)
        found += [_mail(at, limit, *row[1:]) for at, row in rows]
    return found


async def subjects_of(scope: Scope, positions: Sequence[int], note: Note) -> list[Mail]:
    """What ORDEREDSUBJECT needs of those messages that still exist."""
    found: list[Mail] = []
    for start in range(0, len(positions), ROWS):
        await scope.breathe()
        note(start, len(positions))
        rows = await rows_of(scope, positions[start : start + ROWS], ("subject_base", "sent", "date"))
        found += [Mail(at, 0, (), subject, False, sent or date) for at, (_, subject, sent, date) in rows]
    return found


async def by_subject(mails: Sequence[Mail], breathe: Breathe) -> list[Node]:
    """ORDEREDSUBJECT: the first of a subject has all others as children; threads by the date of their first."""
    keys = []
    for number, mail in enumerate(mails):
        if not number % _TURN:
            await breathe()
        keys.append((mail.subject, mail.sent, mail.position, number))
    ordered = await sorted_slowly(keys, breathe)
    roots: list[Node] = []
    last: str | None = None
    for turn, (subject, _, _, number) in enumerate(ordered):
        if not turn % _TURN:
            await breathe()
        node = Node(mails[number])
        if subject == last:
            roots[-1].adopt(node)
        else:
            roots.append(node)
        last = subject
    return await _sorted(roots, breathe)


async def by_references(mails: Sequence[Mail], breathe: Breathe) -> list[Node]:
    """REFERENCES: by Message-IDs, then threads of one subject together."""
    roots = await _sorted(await _prune(await _link(mails, breathe), breathe), breathe)
    roots = await _gather(roots, breathe)
    return await _sort_all(roots, breathe)


async def by_references_only(mails: Sequence[Mail], breathe: Breathe) -> list[Node]:
    """REFS: by Message-IDs only; threads by the time at which their newest message was sent, as Dovecot has it."""
    roots = await _sort_all(await _prune(await _link(mails, breathe), breathe), breathe)
    newest = []
    for number, root in enumerate(roots):
        if not number % _TURN:
            await breathe()
        latest = -(1 << 62), 0
        turn = 0
        pending = [root]
        while pending:
            turn += 1
            if not turn % _TURN:
                await breathe()
            node = pending.pop()
            if node.mail is not None:
                latest = max(latest, (node.mail.sent, node.mail.position))
            pending += node.children
        newest.append((*latest, number))
    return [roots[key[2]] for key in await sorted_slowly(newest, breathe)]


# ---- the steps of RFC 5256 section 3, REFERENCES ------------------------------------------------------------------


class _Budget:
    """How many steps towards roots may still be taken."""

    __slots__ = ("left",)

    def __init__(self, messages: int) -> None:
        self.left = STEPS * messages + 10_000

    def would_loop(self, parent: Node, child: Node) -> bool:
        """Whether the child is the parent or above it; also where nobody wants to know any more."""
        if parent is child:
            return True
        if not child.count:
            return False
        at = parent.parent
        while at is not None:
            self.left -= 1
            if at is child or self.left < 0:
                return True
            at = at.parent
        return False


async def _link(mails: Sequence[Mail], breathe: Breathe) -> list[Node]:
    """Step 1: a node for each message and reference, with a parent where one is known."""
    table: dict[int, Node] = {}
    nodes: list[Node] = []
    budget = _Budget(len(mails))
    for turn, mail in enumerate(mails):
        if not turn % _TURN:
            await breathe()
        node = table.get(mail.message_id) if mail.message_id else None
        if node is None or node.mail is not None:
            # None of that id yet; or the id is missing or not unique, and the message counts as one with another id.
            taken = node is not None
            node = Node(mail)
            nodes.append(node)
            if mail.message_id and not taken:
                table[mail.message_id] = node
        else:
            node.mail = mail
        above: Node | None = None
        for reference in mail.references:
            referred = table.get(reference)
            if referred is None:
                referred = table[reference] = Node()
                nodes.append(referred)
            if above is not None and referred.parent is None and not budget.would_loop(above, referred):
                referred.hang(above)
            above = referred
        # The last reference counts more than what others said of this message (1.B), also where it would close a loop.
        node.hang(None)
        if above is not None and not budget.would_loop(above, node):
            node.hang(above)
    for turn, node in enumerate(nodes):
        if not turn % _TURN:
            await breathe()
        if node.parent is not None:
            node.parent.add(node)
    return [node for node in nodes if node.parent is None]


async def _below(roots: list[Node], breathe: Breathe) -> list[Node]:
    """All nodes, parents before their children."""
    order: list[Node] = []
    pending = list(roots)
    while pending:
        if not len(order) % _TURN:
            await breathe()
        node = pending.pop()
        order.append(node)
        pending += node.children
    return order


async def _prune(roots: list[Node], breathe: Breathe) -> list[Node]:
    """Steps 2 and 3: nodes without a message go, their children move up; at the top only where it is one child."""
    order = await _below(roots, breathe)
    for turn, node in enumerate(order):
        if not turn % _TURN:
            await breathe()
        node.children = _NONE
        above = node.parent
        if above is not None and above.mail is None and above.parent is not None:
            node.parent = above.parent  # which has a message, or is at the top
    for turn, node in enumerate(order):
        if not turn % _TURN:
            await breathe()
        if node.mail is not None and node.parent is not None:
            node.parent.add(node)
    found: list[Node] = []
    for root in roots:
        if root.mail is not None or len(root.children) > 1:
            found.append(root)
        elif root.children:
            only = root.children[0]
            only.parent = None
            found.append(only)
    return found


async def _siblings(nodes: list[Node], breathe: Breathe) -> list[Node]:
    """By date."""
    if len(nodes) <= _TURN:
        return sorted(nodes, key=Node.date)
    keyed = []
    for number, node in enumerate(nodes):
        if not number % _TURN:
            await breathe()
        keyed.append((*node.date(), number))
    return [nodes[key[2]] for key in await sorted_slowly(keyed, breathe)]


async def _sorted(roots: list[Node], breathe: Breathe) -> list[Node]:
    """Threads by date; the children of those without a message are sorted before (step 4)."""
    for number, node in enumerate(roots):
        if not number % _TURN:
            await breathe()
        if node.mail is None:
            node.children = await _siblings(node.children, breathe)
    return await _siblings(roots, breathe)


async def _sort_all(roots: list[Node], breathe: Breathe) -> list[Node]:
    """Step 6: all siblings by date, the deepest first."""
    for turn, node in enumerate(reversed(await _below(roots, breathe))):
        if not turn % _TURN:
            await breathe()
        if len(node.children) > 1:
            node.children = await _siblings(node.children, breathe)
    return await _siblings(roots, breathe)


def _first(node: Node) -> Mail:
    """The message by whose subject a thread is known."""
    while node.mail is None:
        node = node.children[0]
    return node.mail


async def _gather(roots: list[Node], breathe: Breathe) -> list[Node]:
    """Step 5: threads of the same base subject become one."""
    table: dict[str, Node] = {}
    for turn, root in enumerate(roots):
        if not turn % _TURN:
            await breathe()
        first = _first(root)
        if not first.subject:
            continue
        known = table.get(first.subject)
        if known is None or (known.mail is not None and (root.mail is None or (known.mail.reply and not root.mail.reply))):
            table[first.subject] = root
    place = {id(root): number for number, root in enumerate(roots)}
    kept: list[Node | None] = list(roots)
    for number, root in enumerate(roots):
        if not number % _TURN:
            await breathe()
        subject = _first(root).subject
        if not subject or root.parent is not None:
            continue
        known = table[subject]
        if known is root:
            continue
        if known.mail is None and root.mail is None:
            for child in root.children:
                known.adopt(child)
            kept[number] = None
        elif known.mail is None or (root.mail is not None and root.mail.reply and not known.mail.reply):
            known.adopt(root)
            kept[number] = None
        else:
            both = Node()
            at = place.pop(id(known))
            both.adopt(known)
            both.adopt(root)
            kept[at] = both
            kept[number] = None
            place[id(both)] = at
            table[subject] = both
    return [root for root in kept if root is not None]
