"""What the POP3 face is given to work with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from mailstead.identity.authenticator import Authenticator
    from mailstead.mailbox.service import Mailbox


class Locks(Protocol):
    """Counted slots by account, over all processes of the node; a limit of 0 means none."""

    def acquire(self, account: int, limit: int = 1) -> bool: ...
    def release(self, account: int) -> None: ...


@dataclass(slots=True)
class Pop3Services:
    """``settings`` has ``service("pop3")`` and ``service("server")``."""

    mailbox: Mailbox
    authenticator: Authenticator
    settings: Any
    locks: Locks
