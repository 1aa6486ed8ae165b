"""What the SMTP face is given to work with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mailstead.delivery.service import Delivery
    from mailstead.directory.service import Directory
    from mailstead.identity.authenticator import Authenticator


@dataclass(slots=True)
class SmtpServices:
    """``settings`` has ``service``/``peek`` of ``smtpIncoming`` and ``server`` (a `Settings`)."""

    delivery: Delivery
    directory: Directory
    authenticator: Authenticator
    settings: Any
