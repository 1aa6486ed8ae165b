"""IDLE (RFC 2177, RFC 9051 section 6.3.13).

Invariants: while idling a session has no task; news that are durable are written in the view's own turn, one session
after the other; only where that would have to wait (the client does not read, the view has gained more) a task tells all
there is to tell by then.  Expunges may be told.
"""

from __future__ import annotations

import asyncio
from typing import Any

from mailstead.imap import news
from mailstead.imap.grammar import Arguments
from mailstead.imap.selected import Selected
from mailstead.imap.session import Session
from mailstead.observe.log import fault
from mailstead.observe.metrics import faults


class Idling:
    """One IDLE in progress."""

    __slots__ = ("_again", "_selected", "_session", "_tag", "_task")

    def __init__(self, session: Session, tag: bytes) -> None:
        self._session = session
        self._tag = tag
        self._task: asyncio.Task[None] | None = None
        self._again = False
        self._selected: Selected | None = session.selected
        if session.notifier is not None and session.notifier.tells_selected:
            self._selected = None  # NOTIFY tells
        if self._selected is not None:
            self._selected.view.attach(self.changed)

    def changed(self) -> None:
        """The view has news (called by the view)."""
        session = self._session
        if self._selected is None or session.logged_out or session.link.closing:
            return
        if self._task is None and not session.link.write_blocked:
            try:
                if news.tell_now(session):
                    session.flush()
                    return
            except Exception as error:
                self._failed(error)
                return
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._tell())
        else:
            self._again = True

    async def _tell(self) -> None:
        session = self._session
        try:
            while True:
                self._again = False
                await session.tell_news(allow_expunge=True)
                session.flush()
                if session.link.write_blocked:
                    await session.link.drained()
                if not self._again:
                    return
        except ConnectionResetError:
            pass  # the client is gone; `ended` cleans up
        except Exception as error:
            self._failed(error)
        finally:
            self._task = None

    def _failed(self, error: Exception) -> None:
        faults.labels("IMAP").inc()
        fault(self._session.link.log, "session closed by our own error", error)
        self._session.bye("Internal error")

    def stop(self) -> None:
        """No more news."""
        selected, self._selected = self._selected, None
        if selected is not None:
            selected.view.detach(self.changed)

    async def done(self, line: bytes) -> None:
        """The line that ends it has come."""
        session = self._session
        session.stop_idle()
        while (task := self._task) is not None:
            await asyncio.wait((task,))
        if session.selected is not None:
            await session.tell_news(allow_expunge=True)
        if line.strip().upper() == b"DONE":
            session.emit(b"%b OK IDLE completed\r\n" % self._tag)
        else:
            session.emit(b"%b BAD Expected DONE\r\n" % self._tag)


def idle(session: Session, arguments: Arguments) -> Any:
    """Wait for news until the client says DONE."""
    arguments.end()
    return _start(session)


async def _start(session: Session) -> None:
    """News that came before are told first, so that none falls between NOOP and IDLE."""
    idling = Idling(session, session.tag)
    session.emit(b"+ idling\r\n")
    if session.selected is not None:
        await session.tell_news(allow_expunge=True)
    session.start_idle(idling)
