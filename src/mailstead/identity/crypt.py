"""SHA-256 and SHA-512 crypt ($5$ and $6$), for accounts imported from systems that use crypt(3).

Invariants: rounds and password length are capped, so that an imported hash cannot be made to cost minutes.
Follows the published description of the scheme (U. Drepper, "Unix crypt using SHA-256 and SHA-512").
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from typing import Any

MAX_ROUNDS = 500_000
MAX_PASSWORD = 256
_MIN_ROUNDS = 1000
_DEFAULT_ROUNDS = 5000
_ALPHABET = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

# Order in which the digest's octets are written, three at a time; see the scheme's description.
_ORDER_256 = ((0, 10, 20), (21, 1, 11), (12, 22, 2), (3, 13, 23), (24, 4, 14), (15, 25, 5), (6, 16, 26), (27, 7, 17),
              (18, 28, 8), (9, 19, 29))  # fmt: skip
_ORDER_512 = tuple((index, index + 21, index + 42) for index in range(21))


def _encode(value: int, characters: int) -> str:
    encoded = []
    for _ in range(characters):
        encoded.append(_ALPHABET[value & 0x3F])
        value >>= 6
    return "".join(encoded)


def _render_256(digest: bytes) -> str:
    text = "".join(_encode(digest[a] << 16 | digest[b] << 8 | digest[c], 4) for a, b, c in _ORDER_256)
    return text + _encode(digest[31] << 8 | digest[30], 3)


def _render_512(digest: bytes) -> str:
    parts = []
    for index, (a, b, c) in enumerate(_ORDER_512):
        turn = index % 3
        first, second, third = ((a, b, c), (b, c, a), (c, a, b))[turn]
        parts.append(_encode(digest[first] << 16 | digest[second] << 8 | digest[third], 4))
    return "".join(parts) + _encode(digest[63], 2)


def _repeat(octets: bytes, length: int) -> bytes:
    return (octets * (length // len(octets) + 1))[:length]


def _digest(new: Callable[..., Any], password: bytes, salt: bytes, rounds: int) -> bytes:
    length = len(password)
    inner = new(password + salt + password).digest()
    outer = new(password + salt)
    outer.update(_repeat(inner, length))
    bits = length
    while bits:
        outer.update(inner if bits & 1 else password)
        bits >>= 1
    current: bytes = outer.digest()
    password_part = _repeat(new(password * length).digest(), length)
    salt_part = _repeat(new(salt * (16 + current[0])).digest(), len(salt)) if salt else b""
    for turn in range(rounds):
        step = new(password_part if turn & 1 else current)
        if turn % 3:
            step.update(salt_part)
        if turn % 7:
            step.update(password_part)
        step.update(current if turn & 1 else password_part)
        current = step.digest()
    return current


def crypt_hash(password: bytes, setting: str) -> str:
    """The crypt string of a password under `setting` (`$5$...` or `$6$...`). Raises ValueError for another form."""
    parts = setting.split("$")
    if len(parts) < 3 or parts[0] or parts[1] not in ("5", "6"):
        raise ValueError("not a SHA crypt string")
    rest = parts[2:]
    rounds, prefix = _DEFAULT_ROUNDS, ""
    if rest[0].startswith("rounds="):
        number = rest[0][7:]
        if not (number.isascii() and number.isdigit() and len(number) <= 9) or len(rest) < 2:
            raise ValueError("bad rounds in a SHA crypt string")
        rounds = max(_MIN_ROUNDS, int(number))
        if rounds > MAX_ROUNDS:
            raise ValueError(f"more than {MAX_ROUNDS} rounds in a SHA crypt string")
        prefix = f"rounds={rounds}$"
        rest = rest[1:]
    salt = rest[0][:16]
    if parts[1] == "5":
        text = _render_256(_digest(hashlib.sha256, password, salt.encode(), rounds))
    else:
        text = _render_512(_digest(hashlib.sha512, password, salt.encode(), rounds))
    return f"${parts[1]}${prefix}{salt}${text}"


def crypt_verify(password: bytes, stored: str) -> bool:
    """True when `stored` is the crypt string of the password; False for any other or malformed string."""
    if len(password) > MAX_PASSWORD:
        return False
    try:
        return hmac.compare_digest(crypt_hash(password, stored).encode(), stored.encode())
    except ValueError:
        return False
