"""What a session needs of its connection, whatever its protocol; `Connection` has it.

Invariant: everything a session does to the outside goes through its link, so that it runs the same under a test.
"""

from __future__ import annotations

from typing import Any, Protocol


class SessionLink(Protocol):
    """A face adds what it needs besides."""

    peer: tuple[str, int]
    local: tuple[str, int]
    tls: Any
    session_id: str
    closing: bool
    write_blocked: bool
    endpoint: Any

    def close(self) -> None: ...
    def abort(self) -> None: ...
    def hold(self) -> None: ...
    def resume(self) -> None: ...
    async def drained(self) -> None: ...
    @property
    def log(self) -> Any: ...
