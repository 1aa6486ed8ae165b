"""Password hashes: making argon2id ones, and verifying every form that accounts are imported with.

Invariants:
- No function logs, returns or raises with a password or a hash in its text.
- Comparison takes constant time; a malformed stored form never matches and never raises.
- The cost of a stored form is bounded, whoever wrote it.

Everything here blocks (argon2id about 30 ms): call it from a thread.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import importlib
import re
from collections.abc import Callable
from typing import Any

import argon2
from argon2.low_level import Type

from mailstead.identity.crypt import crypt_verify

MAX_PASSWORD_OCTETS = 4096
_MAX_STORED = 1024
_MAX_PBKDF2_ROUNDS = 5_000_000
_MAX_ARGON2_KIB = 1_048_576
_MAX_ARGON2_TIME = 64

TIME_COST = 2
MEMORY_KIB = 19 * 1024
PARALLELISM = 1

_hasher = argon2.PasswordHasher(TIME_COST, MEMORY_KIB, PARALLELISM, type=Type.ID)
_SCHEME = re.compile(r"\{([A-Za-z0-9.-]{1,32})\}", re.ASCII)
_ARGON2_COST = re.compile(r"\$argon2(?:id|i|d)\$v=\d{1,3}\$m=(\d{1,8}),t=(\d{1,4}),p=(\d{1,3})\$", re.ASCII)

# Hashed once, verified for unknown users, so that they cost what known ones cost.
_decoy: list[str] = []


def hash_password(password: str) -> str:
    """A new argon2id hash. Raises ValueError for an empty or overlong password."""
    octets = password.encode()
    if not octets:
        raise ValueError("the password is empty")
    if len(octets) > MAX_PASSWORD_OCTETS:
        raise ValueError(f"the password is longer than {MAX_PASSWORD_OCTETS} octets")
    return _hasher.hash(octets)


def spend_time(password: str) -> None:
    """Verify against a decoy: the answer for an unknown user takes as long as for a known one."""
    if not _decoy:
        _decoy.append(hash_password("decoy"))
    verify(password, _decoy[0])


def verify(password: str, stored: str) -> bool:
    """True when the password belongs to the stored form."""
    octets = password.encode("utf-8", "surrogateescape")
    if not stored or not octets or len(octets) > MAX_PASSWORD_OCTETS or len(stored) > _MAX_STORED:
        return False
    scheme, payload = split_scheme(stored)
    check = _VERIFIERS.get(scheme)
    return check is not None and check(octets, payload)


def split_scheme(stored: str) -> tuple[str, str]:
    """Scheme (upper case) and payload of a stored form; `$...$` forms are recognised without a {SCHEME}."""
    match = _SCHEME.match(stored)
    if match is not None:
        scheme, payload = match[1].upper(), stored[match.end() :]
        if scheme.endswith(".B64"):
            scheme = scheme[:-4]
        elif scheme.endswith(".BASE64"):
            scheme = scheme[:-7]
    else:
        scheme, payload = "", stored
    if scheme in ("", "CRYPT"):
        if payload.startswith("$argon2"):
            return "ARGON2ID", payload
        if payload.startswith("$5$"):
            return "SHA256-CRYPT", payload
        if payload.startswith("$6$"):
            return "SHA512-CRYPT", payload
        if payload.startswith(("$2a$", "$2b$", "$2y$")):
            return "BLF-CRYPT", payload
        if payload.startswith(("pbkdf2_sha256$", "$pbkdf2-sha256$")):
            return "PBKDF2-SHA256", payload
    return scheme, payload


def is_supported(stored: str) -> bool:
    """True when a ready hash can ever be verified here; imports refuse others instead of making dead accounts."""
    if not stored or len(stored) > _MAX_STORED:
        return False
    scheme, payload = split_scheme(stored)
    if scheme not in _VERIFIERS or not payload:
        return False
    if scheme == "BLF-CRYPT":
        return _bcrypt() is not None
    if scheme.startswith("ARGON2"):
        return _argon2_affordable(payload)
    return True


def needs_upgrade(stored: str) -> bool:
    """True when the form is not what `hash_password` makes today; it is replaced at the next successful login."""
    scheme, payload = split_scheme(stored)
    if scheme != "ARGON2ID":
        return True
    try:
        return _hasher.check_needs_rehash(payload)
    except argon2.exceptions.InvalidHash:
        return True


# -- forms ----------------------------------------------------------------------------------------------------


def _clear(password: bytes, payload: str) -> bool:
    return hmac.compare_digest(password, payload.encode())


def _digest(algorithm: str, *, salted: bool) -> Callable[[bytes, str], bool]:
    size = hashlib.new(algorithm).digest_size

    def check(password: bytes, payload: str) -> bool:
        octets = _decode(payload, size)
        if octets is None or (not salted and len(octets) != size):
            return False
        return hmac.compare_digest(hashlib.new(algorithm, password + octets[size:]).digest(), octets[:size])

    return check


def _decode(payload: str, size: int) -> bytes | None:
    """Base64, or hexadecimal where the length says so; None when it holds no digest."""
    if len(payload) == size * 2:
        try:
            return bytes.fromhex(payload)
        except ValueError:
            pass  # Not hexadecimal after all: base64 is tried next.
    try:
        octets = base64.b64decode(payload + "=" * (-len(payload) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
    return octets if len(octets) >= size else None


def _argon2_affordable(payload: str) -> bool:
    match = _ARGON2_COST.match(payload)
    return match is not None and int(match[1]) <= _MAX_ARGON2_KIB and int(match[2]) <= _MAX_ARGON2_TIME


def _argon2(password: bytes, payload: str) -> bool:
    if not _argon2_affordable(payload):
        return False
    try:
        return _hasher.verify(payload, password)
    except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHash):
        return False


def _pbkdf2_sha256(password: bytes, payload: str) -> bool:
    """Forms `$rounds$salt$hash` (ab64) and `pbkdf2_sha256$rounds$salt$hash` (salt as text)."""
    text_salt = payload.startswith("pbkdf2_sha256$")
    parts = payload.removeprefix("pbkdf2_sha256").removeprefix("$").split("$")
    if parts and parts[0] == "pbkdf2-sha256":
        parts = parts[1:]
    if len(parts) == 4 and parts[0] == "1":  # Dovecot's form: $1$salt$rounds$hex
        parts, text_salt = [parts[2], parts[1], parts[3]], True
    if len(parts) != 3 or not (parts[0].isascii() and parts[0].isdigit() and len(parts[0]) <= 8):
        return False
    rounds = int(parts[0])
    if not 1 <= rounds <= _MAX_PBKDF2_ROUNDS:
        return False
    expected = _decode(parts[2].replace(".", "+"), 32)
    salt = parts[1].encode() if text_salt else _decode(parts[1].replace(".", "+"), 1)
    if expected is None or salt is None:
        return False
    return hmac.compare_digest(hashlib.pbkdf2_hmac("sha256", password, salt, rounds, len(expected)), expected)


def _bcrypt() -> Any:
    try:
        return importlib.import_module("bcrypt")
    except ImportError:
        return None  # An optional package; is_supported says so at import.


def _bcrypt_verify(password: bytes, payload: str) -> bool:
    module = _bcrypt()
    cost = payload[4:6]
    if module is None or not (cost.isascii() and cost.isdigit()) or int(cost) > 16:
        return False
    try:
        return bool(module.checkpw(password[:72], payload.encode()))
    except ValueError:
        return False


_VERIFIERS: dict[str, Callable[[bytes, str], bool]] = {
    "PLAIN": _clear,
    "CLEARTEXT": _clear,
    "CLEAR": _clear,
    "SHA": _digest("sha1", salted=False),
    "SHA1": _digest("sha1", salted=False),
    "SSHA": _digest("sha1", salted=True),
    "SHA256": _digest("sha256", salted=False),
    "SSHA256": _digest("sha256", salted=True),
    "SHA512": _digest("sha512", salted=False),
    "SSHA512": _digest("sha512", salted=True),
    "ARGON2ID": _argon2,
    "ARGON2I": _argon2,
    "ARGON2": _argon2,
    "PBKDF2-SHA256": _pbkdf2_sha256,
    "SHA256-CRYPT": crypt_verify,
    "SHA512-CRYPT": crypt_verify,
    "BLF-CRYPT": _bcrypt_verify,
    "BCRYPT": _bcrypt_verify,
}
