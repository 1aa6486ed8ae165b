"""What the ManageSieve face is given to work with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mailstead.directory.service import Directory
    from mailstead.identity.authenticator import Authenticator
    from mailstead.mailbox.service import Mailbox


@dataclass(slots=True)
class ManageSieveServices:
    """``settings`` has ``service("managesieve")`` and ``service("server")``."""

    mailbox: Mailbox
    authenticator: Authenticator
    settings: Any
    directory: Directory
