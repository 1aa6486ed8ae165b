"""Forms of password hashes that other servers store: LDAP's, Dovecot's, those of crypt(3) and of web frameworks.

Invariants:
- `Form.check` never raises and never matches a malformed form; comparison takes constant time.
- Its cost is bounded by a few seconds, whoever wrote the form; `Form.fits` tells beforehand, without the password,
  whether a form can ever match.
- The digest and salt of what is only octets come as base64 (or hexadecimal where the length says so).

Everything here blocks: call it from a thread.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass

from argon2.low_level import Type

from mailstead.identity import argon2_memory, libcrypt
from mailstead.identity.crypt import crypt_verify
from mailstead.identity.scram_keys import derive

MAX_PBKDF2_ROUNDS = 5_000_000
MAX_SCRAM_ROUNDS = 1_000_000
MAX_ARGON2_KIB = 1 << 20
MAX_ARGON2_WORK = 1 << 22
"""KiB times passes: about four seconds."""
MAX_ARGON2_LANES = 64

MAX_ARGON2_DIGEST = 512
_ARGON2_KINDS = {"id": Type.ID, "i": Type.I, "d": Type.D}
_argon2_parts = re.compile(
    r"\$argon2(id|i|d)\$v=(\d{1,3})\$m=(\d{1,8}),t=(\d{1,4}),p=(\d{1,3})\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)", re.ASCII
).fullmatch
_argon2_cost = re.compile(r"\$argon2(?:id|i|d)\$v=\d{1,3}\$m=(\d{1,8}),t=(\d{1,4}),p=(\d{1,3})\$", re.ASCII).match
_pbkdf2 = re.compile(r"\$?(?:pbkdf2(?:[_-]sha(?:1|256|512))?\$)?(\d{1,8})\$([^$]{1,256})\$([^$]{1,256})", re.ASCII).fullmatch
_dovecot_pbkdf2 = re.compile(r"\$1\$([^$]{1,256})\$(\d{1,8})\$([0-9A-Fa-f]{1,256})", re.ASCII).fullmatch
_scrypt = re.compile(r"\$scrypt\$ln=(\d{1,2}),r=(\d{1,4}),p=(\d{1,3})\$([^$]{0,128})\$([^$]{1,128})", re.ASCII).fullmatch
_scram = re.compile(
    r"(\d{1,8}),([A-Za-z0-9+/=]{1,128}),([A-Za-z0-9+/=]{1,128}),([A-Za-z0-9+/=]{1,128})"
    r"|(?:SCRAM-SHA-(?:1|256)\$)?(\d{1,8}):([A-Za-z0-9+/=]{1,128})\$([A-Za-z0-9+/=]{1,128}):([A-Za-z0-9+/=]{1,128})",
    re.ASCII,
).fullmatch


@dataclass(frozen=True, slots=True)
class Form:
    """One stored form: `fits(payload)` and `check(password, payload)`."""

    fits: Callable[[str], bool]
    check: Callable[[bytes, str], bool]


def decode(payload: str, size: int) -> bytes | None:
    """At least `size` octets out of base64, or hexadecimal where the length says so; else None."""
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


def _adapted(text: str) -> bytes | None:
    """Base64 that has "." for "+" (the usual form in hashes)."""
    return decode(text.replace(".", "+"), 1)


def _clear(password: bytes, payload: str) -> bool:
    return hmac.compare_digest(password, payload.encode("utf-8", "surrogateescape"))


def _digest(algorithm: str, *, salted: bool) -> Form:
    size = hashlib.new(algorithm).digest_size

    def octets(payload: str) -> bytes | None:
        found = decode(payload, size)
        return found if found is not None and (salted or len(found) == size) else None

    def check(password: bytes, payload: str) -> bool:
        found = octets(payload)
        if found is None:
            return False
        return hmac.compare_digest(hashlib.new(algorithm, password + found[size:]).digest(), found[:size])

    return Form(lambda payload: octets(payload) is not None, check)


# -- argon2 ---------------------------------------------------------------------------------------------------


def _argon2_fits(payload: str) -> bool:
    match = _argon2_cost(payload)
    if match is None:
        return False
    memory, time, lanes = int(match[1]), int(match[2]), int(match[3])
    return memory <= MAX_ARGON2_KIB and memory * time <= MAX_ARGON2_WORK and lanes <= MAX_ARGON2_LANES


def _argon2(password: bytes, payload: str) -> bool:
    if not _argon2_fits(payload):
        return False
    match = _argon2_parts(payload)
    if match is None:
        return False
    version, memory, time, lanes = (int(match[group]) for group in (2, 3, 4, 5))
    try:
        salt, digest = (base64.b64decode(text + "=" * (-len(text) % 4), validate=True) for text in (match[6], match[7]))
        if not 4 <= len(digest) <= MAX_ARGON2_DIGEST:
            return False
        found = argon2_memory.derive(
            password, salt, _ARGON2_KINDS[match[1]],
            time_cost=time, memory_kib=memory, lanes=lanes, length=len(digest), version=version,
        )  # fmt: skip
    except ValueError:  # binascii.Error is one, too
        return False
    return hmac.compare_digest(found, digest)


# -- PBKDF2 and scrypt ----------------------------------------------------------------------------------------


def _pbkdf2_parts(payload: str) -> tuple[int, bytes, bytes] | None:
    """Rounds, salt, digest of `[$name$]rounds$salt$digest` (adapted base64; Django's salt is text) or Dovecot's
    `$1$salt$rounds$hex`."""
    salt: bytes | None
    if found := _dovecot_pbkdf2(payload):
        rounds, salt = int(found[2]), found[1].encode()
        digest = bytes.fromhex(found[3]) if len(found[3]) % 2 == 0 else None
    elif found := _pbkdf2(payload):
        rounds, digest = int(found[1]), _adapted(found[3])
        salt = found[2].encode() if payload.startswith("pbkdf2_") else _adapted(found[2])
    else:
        return None
    if salt is None or digest is None or len(digest) < 16 or not 1 <= rounds <= MAX_PBKDF2_ROUNDS:
        return None
    return rounds, salt, digest


def _pbkdf2_form(algorithm: str) -> Form:
    longest = hashlib.new(algorithm).digest_size  # more would be computed in full, once for each block

    def parts(payload: str) -> tuple[int, bytes, bytes] | None:
        found = _pbkdf2_parts(payload)
        return found if found is not None and len(found[2]) <= longest else None

    def check(password: bytes, payload: str) -> bool:
        found = parts(payload)
        if found is None:
            return False
        rounds, salt, digest = found
        return hmac.compare_digest(hashlib.pbkdf2_hmac(algorithm, password, salt, rounds, len(digest)), digest)

    return Form(lambda payload: parts(payload) is not None, check)


def _scrypt_parts(payload: str) -> tuple[int, int, int, bytes, bytes] | None:
    found = _scrypt(payload)
    if found is None:
        return None
    rounds, block, lanes = int(found[1]), int(found[2]), int(found[3])
    salt, digest = (_adapted(found[4]) if found[4] else b""), _adapted(found[5])
    if salt is None or digest is None or len(digest) < 16 or not 1 <= rounds <= 24 or not block or not lanes:
        return None
    if block << rounds > libcrypt.MAX_MEMORY_UNITS or (block << rounds) * lanes > 2 * libcrypt.MAX_MEMORY_UNITS:
        return None
    return rounds, block, lanes, salt, digest


def _scrypt_check(password: bytes, payload: str) -> bool:
    parts = _scrypt_parts(payload)
    if parts is None:
        return False
    rounds, block, lanes, salt, digest = parts
    room = 128 * block * ((1 << rounds) + lanes + 2) + (1 << 16)
    try:
        made = hashlib.scrypt(password, salt=salt, n=1 << rounds, r=block, p=lanes, maxmem=room, dklen=len(digest))
    except ValueError:
        return False
    return hmac.compare_digest(made, digest)


# -- SCRAM ----------------------------------------------------------------------------------------------------


def _scram_form(mechanism: str, size: int) -> Form:
    """Dovecot's `rounds,salt,stored key,server key` and `[mechanism$]rounds:salt$stored key:server key` (RFC 5803)."""

    def parts(payload: str) -> tuple[int, bytes, bytes] | None:
        found = _scram(payload)
        if found is None:
            return None
        rounds, salt, key = int(found[1] or found[5]), decode(found[2] or found[6], 1), decode(found[3] or found[7], size)
        if salt is None or key is None or len(key) != size or not 1 <= rounds <= MAX_SCRAM_ROUNDS:
            return None
        return rounds, salt, key

    def check(password: bytes, payload: str) -> bool:
        found = parts(payload)
        if found is None:
            return False
        try:
            keys = derive(mechanism, password.decode(), salt=found[1], iterations=found[0])
        except ValueError:  # also not UTF-8
            return False
        return hmac.compare_digest(keys.stored_key, found[2])

    return Form(lambda payload: parts(payload) is not None, check)


# -- crypt(3) -------------------------------------------------------------------------------------------------


def _sha_crypt(password: bytes, payload: str) -> bool:
    """In the C library, which lets other threads run meanwhile, where it knows the form."""
    if libcrypt.supported(payload):
        return libcrypt.verify(password, payload)
    return crypt_verify(password, payload)


def _bcrypt(password: bytes, payload: str) -> bool:
    return libcrypt.verify(password[:72], payload)  # bcrypt itself looks at no more


_any_clear = Form(bool, _clear)
_any_crypt = Form(libcrypt.supported, libcrypt.verify)
_sha_crypt_form = Form(libcrypt.affordable, _sha_crypt)
_argon2_form = Form(_argon2_fits, _argon2)

CLEAR = frozenset(("PLAIN", "CLEARTEXT", "CLEAR"))
DIGESTS = frozenset(("SHA", "SHA1", "SSHA", "SHA256", "SSHA256", "SHA384", "SSHA384", "SHA512", "SSHA512", "LDAP-MD5", "SMD5"))
"""Those whose payload is octets; of the others it is text."""

FORMS: dict[str, Form] = {
    **dict.fromkeys(CLEAR, _any_clear),
    "SHA": _digest("sha1", salted=False),
    "SHA1": _digest("sha1", salted=False),
    "SSHA": _digest("sha1", salted=True),
    "SHA256": _digest("sha256", salted=False),
    "SSHA256": _digest("sha256", salted=True),
    "SHA384": _digest("sha384", salted=False),
    "SSHA384": _digest("sha384", salted=True),
    "SHA512": _digest("sha512", salted=False),
    "SSHA512": _digest("sha512", salted=True),
    "LDAP-MD5": _digest("md5", salted=False),
    "SMD5": _digest("md5", salted=True),
    "ARGON2ID": _argon2_form,
    "ARGON2I": _argon2_form,
    "ARGON2": _argon2_form,
    "PBKDF2": _pbkdf2_form("sha1"),
    "PBKDF2-SHA256": _pbkdf2_form("sha256"),
    "PBKDF2-SHA512": _pbkdf2_form("sha512"),
    "SCRYPT": Form(lambda payload: _scrypt_parts(payload) is not None, _scrypt_check),
    "SCRAM-SHA-1": _scram_form("SCRAM-SHA-1", 20),
    "SCRAM-SHA-256": _scram_form("SCRAM-SHA-256", 32),
    "SHA256-CRYPT": _sha_crypt_form,
    "SHA512-CRYPT": _sha_crypt_form,
    "BLF-CRYPT": Form(libcrypt.supported, _bcrypt),
    "CRYPT": _any_crypt,
}
