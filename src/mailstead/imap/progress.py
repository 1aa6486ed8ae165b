"""Word of a long command's progress (RFC 9585), and the most messages that one command handles (RFC 9738).

Invariants: nothing is said in the first two seconds, then at most once a second; a word is a whole response, so that it
never lands inside another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from mailstead.imap import sequence_set
from mailstead.imap.responses import Refusal, quote

if TYPE_CHECKING:
    from mailstead.imap.session import Session

FIRST_SECONDS = 2.0
NEXT_SECONDS = 1.0
#: Messages that one command handles at most.
MESSAGE_LIMIT = 2_000_000


class Progress:
    """Use it as a context around the work; set `done` and `goal` where they are known."""

    __slots__ = ("_session", "_tag", "_timer", "done", "goal")

    def __init__(self, session: Session) -> None:
        self._session = session
        self._tag = session.tag
        self._timer: asyncio.TimerHandle | None = None
        self.done = self.goal = 0

    def note(self, done: int, goal: int) -> None:
        """So many of so many messages."""
        self.done, self.goal = done, goal

    def __enter__(self) -> Progress:
        self._timer = asyncio.get_running_loop().call_later(FIRST_SECONDS, self._tell)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tell(self) -> None:
        session = self._session
        if session.logged_out or session.link.closing:
            return
        done = b"%d" % self.done if self.goal else b"NIL"
        goal = b"%d" % self.goal if self.goal else b"NIL"
        if not session.link.write_blocked:
            session.untagged(b"OK [INPROGRESS (%b %b %b)] Still at work" % (quote(self._tag), done, goal))
            session.flush()
        self._timer = asyncio.get_running_loop().call_later(NEXT_SECONDS, self._tell)


def limited(ranges: sequence_set.Ranges, uids: Sequence[int]) -> tuple[sequence_set.Ranges, bytes]:
    """The newest MESSAGE_LIMIT of the messages at positions, and the response code (with a blank) where that is not all
    of them: it names the lowest UID that was handled (RFC 9738 section 3.1)."""
    left = MESSAGE_LIMIT
    if sequence_set.total(ranges) <= left:
        return ranges, b""
    kept: sequence_set.Ranges = []
    for start, end in reversed(ranges):
        if not left:
            break
        start = max(start, end - left)
        left -= end - start
        kept.append((start, end))
    kept.reverse()
    return kept, b"[MESSAGELIMIT %d %d] " % (MESSAGE_LIMIT, uids[kept[0][0]])


def refuse_many(ranges: sequence_set.Ranges) -> None:
    """COPY is whole or absent: raises Refusal where it is about too many messages (RFC 9738 section 3.2)."""
    if sequence_set.total(ranges) > MESSAGE_LIMIT:
        raise Refusal("Too many messages for one command", f"MESSAGELIMIT {MESSAGE_LIMIT}")
