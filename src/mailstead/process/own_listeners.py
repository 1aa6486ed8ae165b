"""Whether an address and port elsewhere are in truth this server's own.

Invariants: a listener on a wildcard address listens on every address of the host; the host's addresses are looked at anew
once a minute.
"""

from __future__ import annotations

import time

import psutil

from mailstead.settings import Settings

ADDRESSES_SECONDS = 60.0


class OwnListeners:
    """Over the listeners in the settings."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._own: frozenset[str] = frozenset()
        self._own_at = -ADDRESSES_SECONDS

    def has(self, service: str, address: str, port: int) -> bool:
        """True when a listener of the service that is switched on takes connections there."""
        for listener in self._settings.listeners(service):
            if listener.enable and listener.port == port:
                if listener.host == address:
                    return True
                wildcard = "::" if ":" in address else "0.0.0.0"
                if listener.host == wildcard and address in self._addresses():
                    return True
        return False

    def _addresses(self) -> frozenset[str]:
        now = time.monotonic()
        if now - self._own_at >= ADDRESSES_SECONDS:
            found = (entry.address for entries in psutil.net_if_addrs().values() for entry in entries)
            self._own, self._own_at = frozenset(address.partition("%")[0] for address in found), now
        return self._own
