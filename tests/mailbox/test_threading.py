"""Threads against a plain reading of RFC 5256 section 3, written for clarity: lists, recursion, no limits."""

from __future__ import annotations

import asyncio
import gc
import time
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailstead.mailbox import threading
from mailstead.mailbox.threading import Mail, Node

Tree = tuple[int | None, tuple[Any, ...]]
"""Position (None: no message), and children in order."""


@dataclass(eq=False)
class Box:
    """A node of the plain implementation."""

    mail: Mail | None = None
    parent: Box | None = None
    children: list[Box] = field(default_factory=list)

    def put(self, parent: Box | None) -> None:
        if self.parent is not None:
            self.parent.children.remove(self)
        self.parent = parent
        if parent is not None:
            parent.children.append(self)

    def above(self, other: Box) -> bool:
        at: Box | None = other
        while at is not None:
            if at is self:
                return True
            at = at.parent
        return False

    def date(self) -> tuple[int, int]:
        return (self.mail.sent, self.mail.position) if self.mail else self.children[0].date()


def linked(mails: list[Mail]) -> list[Box]:
    table: dict[Any, Box] = {}
    every: list[Box] = []

    def box(key: Any) -> Box:
        if key not in table:
            table[key] = Box()
            every.append(table[key])
        return table[key]

    for mail in mails:
        key: Any = mail.message_id
        if not key or (key in table and table[key].mail is not None):
            key = ("unique", mail.position)
        mine = box(key)
        mine.mail = mail
        before: Box | None = None
        for reference in mail.references:
            referred = box(reference)
            if before is not None and referred.parent is None and not referred.above(before):
                referred.put(before)
            before = referred
        mine.put(None)
        if before is not None and not mine.above(before):
            mine.put(before)
    return [one for one in every if one.parent is None]


def pruned(boxes: list[Box], top: bool) -> list[Box]:
    out: list[Box] = []
    for box in boxes:
        box.children = pruned(box.children, top=False)
        if box.mail is not None or (top and len(box.children) > 1):
            out.append(box)
        else:
            out += box.children
    return out


def in_order(boxes: list[Box]) -> list[Box]:
    for box in boxes:
        box.children = in_order(box.children)
    return sorted(boxes, key=Box.date)


def gathered(roots: list[Box]) -> list[Box]:
    for root in roots:
        if root.mail is None:
            root.children.sort(key=Box.date)
    roots = sorted(roots, key=Box.date)

    def first(box: Box) -> Mail:
        return box.mail or first(box.children[0])

    table: dict[str, Box] = {}
    for root in roots:
        subject = first(root).subject
        if not subject:
            continue
        known = table.get(subject)
        if known is None or (known.mail is not None and (root.mail is None or (known.mail.reply and not root.mail.reply))):
            table[subject] = root
    for root in list(roots):
        subject = first(root).subject
        known = table.get(subject)
        if not subject or known is root or known is None:
            continue
        roots.remove(root)
        if known.mail is None and root.mail is None:
            known.children += root.children
        elif known.mail is None or (root.mail is not None and root.mail.reply and not known.mail.reply):
            known.children.append(root)
        else:
            roots[roots.index(known)] = table[subject] = Box(children=[known, root])
    return roots


def tree(node: Any) -> Tree:
    return (node.mail.position if node.mail else None), tuple(tree(child) for child in node.children)


def references(mails: list[Mail]) -> list[Tree]:
    return [tree(box) for box in in_order(gathered(pruned(linked(mails), top=True)))]


def newest(box: Box) -> tuple[int, int]:
    own = (box.mail.sent, box.mail.position) if box.mail else (-(1 << 62), 0)
    return max([own, *map(newest, box.children)])


def refs(mails: list[Mail]) -> list[Tree]:
    return [tree(box) for box in sorted(in_order(pruned(linked(mails), top=True)), key=newest)]


def ordered_subject(mails: list[Mail]) -> list[Tree]:
    groups: dict[str, list[Mail]] = {}
    for mail in sorted(mails, key=lambda m: (m.sent, m.position)):
        groups.setdefault(mail.subject, []).append(mail)
    return [(group[0].position, tuple((mail.position, ()) for mail in group[1:])) for group in groups.values()]


async def _breathe() -> None:
    await asyncio.sleep(0)


ids = st.integers(0, 8)
mail_lists = st.lists(
    st.tuples(ids, st.lists(ids.filter(bool), max_size=5), st.sampled_from(["", "x", "y"]), st.booleans(), st.integers(0, 5)),
    max_size=14,
).map(lambda rows: [Mail(at, id, tuple(refs), subject, reply and bool(subject), sent)
                    for at, (id, refs, subject, reply, sent) in enumerate(rows)])  # fmt: skip


@settings(max_examples=1500, deadline=None)
@given(mail_lists)
def test_threads_are_those_of_a_plain_implementation(mails: list[Mail]) -> None:
    async def made() -> list[list[Node]]:
        return [await f(mails, _breathe) for f in (threading.by_references, threading.by_references_only, threading.by_subject)]

    by_references, only, subjects = asyncio.run(made())
    assert [tree(node) for node in by_references] == references(mails)
    assert [tree(node) for node in only] == refs(mails)
    assert [tree(node) for node in subjects] == ordered_subject(mails)


def positions(roots: list[Node]) -> list[int]:
    found, pending = [], list(roots)
    while pending:
        node = pending.pop()
        pending += node.children
        if node.mail is not None:
            found.append(node.mail.position)
    return sorted(found)


def _mails(count: int, references_of: Any) -> list[Mail]:
    return [Mail(at, at + 1, tuple(references_of(at)), "s", True, at) for at in range(count)]


async def _cost(mails: list[Mail]) -> float:
    """Seconds of CPU, the least of three times; every message has a place."""
    spent = []
    for _ in range(3):
        gc.collect()
        gc.disable()  # a collection costs what the tests before this one have left
        try:
            started = time.thread_time()
            roots = await threading.by_references(mails, _breathe)
            spent.append(time.thread_time() - started)
        finally:
            gc.enable()
        assert positions(roots) == [mail.position for mail in mails]
    return min(spent)


@pytest.mark.parametrize(
    "references_of",
    [
        pytest.param(lambda at, _count: (at + 2,), id="a chain, the newest first"),
        pytest.param(lambda at, _count: (at,), id="a chain"),
        pytest.param(
            lambda at, count: (at,) if at < count // 2 else (count // 2, 10**9 + at, at),
            id="children of the end of a deep thread that have children",
        ),
        pytest.param(lambda at, _count: tuple(10**9 + 50 * at + n for n in range(50)), id="missing messages without end"),
        pytest.param(lambda at, count: tuple((at * 7 + n * 13) % count + 1 for n in range(20)), id="all are parents of all"),
    ],
)
async def test_the_cost_of_hostile_references_grows_with_their_number_alone(references_of: Any) -> None:
    few, many = [await _cost(_mails(count, lambda at, count=count: references_of(at, count))) for count in (5_000, 20_000)]
    assert many < 10 * few + 0.3, "four times the messages; more than ten times the work would be a square"
