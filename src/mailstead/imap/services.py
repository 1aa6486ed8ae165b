"""What the IMAP face is given to work with.

Invariants: the face knows the services only through these attributes; they are shared by all its sessions.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mailstead.imap.accounts import AccountSessions
from mailstead.imap.render import DEFAULT_BUDGET, RenderCache, Renderer

if TYPE_CHECKING:
    from mailstead.mailbox.service import Mailbox

@dataclass(slots=True)
class ImapServices:
    """`settings` has `service(name)`; `cache_octets` is the render cache's budget; `locks` counts an account's
    sessions over all processes (`acquire(account, limit)`, `release(account)`)."""

    mailbox: Mailbox
    authenticator: Any
    settings: Any
    directory: Any = None
    locks: Any = None
    cache_octets: int = DEFAULT_BUDGET
    cache: RenderCache = field(init=False)
    renderer: Renderer = field(init=False)
    sessions: AccountSessions = field(init=False)

    def __post_init__(self) -> None:
        self.cache = RenderCache(self.cache_octets)
        self.renderer = Renderer(self.mailbox, self.cache)
        self.sessions = AccountSessions(self)
