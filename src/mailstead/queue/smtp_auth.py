"""Logging in at a smart host: PLAIN (RFC 4616), LOGIN and CRAM-MD5 (RFC 2195), without I/O.

Invariants: a clear-text mechanism is chosen after CRAM-MD5 where the connection has no TLS; the password appears in
no exception and no log line.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Callable, Collection

Step = Callable[[bytes], bytes]
"""Gives the answer to a server's (decoded) challenge."""

SUPPORTED = ("plain", "login", "cram-md5")


def choose(offered: Collection[str], allowed: Collection[str], tls: bool) -> str | None:
    """The mechanism to use, of those offered (upper case) and allowed (lower case)."""
    order = ("plain", "login", "cram-md5") if tls else ("cram-md5", "plain", "login")
    return next((name for name in order if name.upper() in offered and name in allowed), None)


def exchange(mechanism: str, user: str, password: str) -> tuple[bytes | None, list[Step]]:
    """``(initial response, answers to the challenges)``. Raises KeyError for a mechanism not in SUPPORTED."""
    name, secret = user.encode(), password.encode()

    def cram(challenge: bytes) -> bytes:
        return name + b" " + hmac.new(secret, challenge, "md5").hexdigest().encode()

    return {
        "plain": (b"\0%b\0%b" % (name, secret), []),
        "login": (None, [lambda _prompt: name, lambda _prompt: secret]),
        "cram-md5": (None, [cram]),
    }[mechanism]


def decode_challenge(text: str) -> bytes:
    """The octets of a 334 reply's text; whatever cannot be decoded is empty (LOGIN prompts are free text)."""
    try:
        return base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        return b""  # a prompt that is no base64: only LOGIN servers do so, and LOGIN ignores it


def encode_response(octets: bytes) -> bytes:
    return base64.b64encode(octets) or b"="
