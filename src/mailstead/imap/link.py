"""What a session needs of its connection; `transport.connection.Connection` with a little more has it.

Invariant: everything a session does to the outside goes through here, so that it runs the same under a test.
"""

from __future__ import annotations

from typing import Any, Protocol

from mailstead.transport.link import SessionLink


class Link(SessionLink, Protocol):
    """See SessionLink."""

    def send_many(self, parts: Any) -> None: ...
    def logged_in(self) -> None: ...
    def logged_out(self) -> None: ...
    async def start_tls(self) -> bool: ...
