"""What the POP3 face is given to work with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from mailstead.directory.service import Directory
    from mailstead.identity.authenticator import Authenticator
    from mailstead.mailbox.service import Mailbox


class Locks(Protocol):
    """Counted slots by account, over all processes of the node; a limit of 0 means none. ``too_soon`` notes a moment and
    says whether the one before was less than ``seconds`` ago."""

    def acquire(self, account: int, limit: int = 1) -> bool: ...
    def release(self, account: int) -> None: ...
    def too_soon(self, account: int, seconds: int) -> bool: ...


@dataclass(slots=True)
class Pop3Services:
    """``settings`` has ``service("pop3")`` and ``service("server")``; ``directory``, where given, tells of accounts that
    changed, so that their sessions end."""

    mailbox: Mailbox
    authenticator: Authenticator
    settings: Any
    locks: Locks
    directory: Directory | None = None
