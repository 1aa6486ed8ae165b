"""Signed tokens: in the addresses of a list, in front of what waits in its mailbox, in the links of its copies.

Invariants: a token is good for one list and one purpose; comparing takes constant time; nothing raises on any text.

In addresses a token is base32 in lower case, for local parts are compared without case: a number and half a MAC, short
enough for the 64 octets of a local part. In links it is base64url and holds whom it is about.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from dataclasses import dataclass

NUMBER_MAC = 8
FULL_MAC = 16
MAX_TOKEN = 2048


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs with a secret that all processes of a node share."""

    secret: bytes

    def _mac(self, purpose: str, list_id: int, data: bytes, size: int) -> bytes:
        message = b"%b\0%d\0%b" % (purpose.encode(), list_id, data)
        return hmac.digest(self.secret, message, hashlib.sha256)[:size]

    # -- numbers, for addresses ---------------------------------------------------------------------------------

    def number(self, purpose: str, list_id: int, number: int) -> str:
        """A number of a list as a token of 20 to 28 letters and digits."""
        data = number.to_bytes(max(4, (number.bit_length() + 7) // 8), "big")
        return base64.b32encode(data + self._mac(purpose, list_id, data, NUMBER_MAC)).decode().rstrip("=").lower()

    def read_number(self, purpose: str, list_id: int, token: str) -> int | None:
        """The number of a token; None where it is not a good one."""
        text = token.upper()
        if not text.isascii() or len(text) > 64:
            return None
        try:
            octets = base64.b32decode(text + "=" * (-len(text) % 8))
        except (binascii.Error, ValueError):
            return None
        data, mac = octets[:-NUMBER_MAC], octets[-NUMBER_MAC:]
        if len(data) < 4 or not hmac.compare_digest(mac, self._mac(purpose, list_id, data, NUMBER_MAC)):
            return None
        number = int.from_bytes(data, "big")
        return number if self.number(purpose, list_id, number) == token.lower() else None

    # -- texts, for links and header fields ---------------------------------------------------------------------

    def text(self, purpose: str, list_id: int, values: dict[str, str]) -> str:
        """Values of a list as a token."""
        data = json.dumps([list_id, values], ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode("utf-8", "replace")
        return base64.urlsafe_b64encode(self._mac(purpose, list_id, data, FULL_MAC) + data).decode().rstrip("=")

    def read_text(self, purpose: str, token: str) -> tuple[int, dict[str, str]] | None:
        """(list, values) of a token; None where it is not a good one."""
        if not token.isascii() or len(token) > MAX_TOKEN:
            return None
        try:
            octets = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
            mac, data = octets[:FULL_MAC], octets[FULL_MAC:]
            list_id, values = json.loads(data)
            expected = self._mac(purpose, int(list_id), data, FULL_MAC)
        except (ValueError, TypeError, binascii.Error, RecursionError):
            return None
        if not hmac.compare_digest(mac, expected) or not isinstance(values, dict):
            return None
        return int(list_id), {str(key): str(value) for key, value in values.items()}
