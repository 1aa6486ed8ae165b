"""The name this server goes by."""

from __future__ import annotations

import socket
from functools import lru_cache
from typing import Any

from mailstead.message.addresses import ascii_domain


@lru_cache(1)
def system_name() -> str:
    """The host's own name, ``localhost`` where it has none that fits. Never asks the DNS."""
    return ascii_domain(socket.gethostname()) or "localhost"


def host_name(settings: Any, context: str = "smtpIncoming") -> str:
    """hostname of the context, else serverName, else the host's name, as A-labels."""
    for name in (settings.peek(context).hostname, settings.peek("server").serverName):
        if name:
            found = ascii_domain(name.strip().rstrip("."))
            if found:
                return found
    return system_name()
