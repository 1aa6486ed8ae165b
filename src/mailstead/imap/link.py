"""What a session needs of its connection; `transport.connection.Connection` with a little more has it.

Invariant: everything a session does to the outside goes through here, so that it runs the same under a test.
"""

from __future__ import annotations

from typing import Any, Protocol


class Link(Protocol):
    """What a session needs of its connection (`transport.connection.Connection`)."""

    peer: tuple[str, int]
    local: tuple[str, int]
    tls: Any
    session_id: str
    closing: bool
    write_blocked: bool
    endpoint: Any

    def send_many(self, parts: Any) -> None: ...
    def close(self) -> None: ...
    def abort(self) -> None: ...
    def logged_in(self) -> None: ...
    def hold(self) -> None: ...
    def resume(self) -> None: ...
    async def drained(self) -> None: ...
    async def start_tls(self) -> bool: ...
    @property
    def log(self) -> Any: ...
