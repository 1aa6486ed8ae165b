"""Password hashes: making argon2id ones, and verifying every form that accounts are imported with.

Invariants:
- No function logs, returns or raises with a password or a hash in its text.
- Comparison takes constant time; a malformed stored form never matches and never raises.
- The cost of a stored form is bounded, whoever wrote it (see foreign_hashes).

Everything here blocks (argon2id about 30 ms): call it from a thread.
"""

from __future__ import annotations

import base64
import binascii
import re
import secrets

from argon2.low_level import ARGON2_VERSION, Type

from mailstead.identity import argon2_memory
from mailstead.identity.foreign_hashes import DIGESTS, FORMS

MAX_PASSWORD_OCTETS = 4096
_MAX_STORED = 1024

TIME_COST = 2
MEMORY_KIB = 19 * 1024
PARALLELISM = 1

_SALT_OCTETS, _HASH_OCTETS = 16, 32
argon2_memory.keep(MEMORY_KIB * 1024)

_PARAMETERS = f"$argon2id$v={ARGON2_VERSION}$m={MEMORY_KIB},t={TIME_COST},p={PARALLELISM}$"
_SCHEME = re.compile(r"\{([A-Za-z0-9._-]{1,32})\}", re.ASCII)

#: Names of one form in different servers.
_SPELLINGS = {
    "BCRYPT": "BLF-CRYPT",
    "MD5-CRYPT": "CRYPT",
    "SMD5-CRYPT": "CRYPT",
    "DES-CRYPT": "CRYPT",
    "YESCRYPT": "CRYPT",
    "PLAIN-MD5": "LDAP-MD5",
    "PBKDF2-SHA1": "PBKDF2",
    "X-PBKDF2": "PBKDF2",
    "SHA-256": "SHA256",
    "SHA-384": "SHA384",
    "SHA-512": "SHA512",
}
#: What a payload begins with whose scheme is not told, or only as {CRYPT}.
_BEGINNINGS = (
    ("$argon2", "ARGON2ID"),
    ("$5$", "SHA256-CRYPT"),
    ("$6$", "SHA512-CRYPT"),
    ("$2", "BLF-CRYPT"),
    ("$scrypt$", "SCRYPT"),
    ("pbkdf2_sha256$", "PBKDF2-SHA256"),
    ("$pbkdf2-sha256$", "PBKDF2-SHA256"),
    ("$pbkdf2-sha512$", "PBKDF2-SHA512"),
    ("pbkdf2_sha1$", "PBKDF2"),
    ("$pbkdf2$", "PBKDF2"),
    ("SCRAM-SHA-256$", "SCRAM-SHA-256"),
    ("SCRAM-SHA-1$", "SCRAM-SHA-1"),
    ("$1$", "CRYPT"),
    ("$7$", "CRYPT"),
    ("$y$", "CRYPT"),
    ("$gy$", "CRYPT"),
)

# Hashed once, verified for unknown users, so that they cost what known ones cost.
_decoy: list[str] = []


def hashable(password: str) -> bytes:
    """The octets that are hashed. Raises ValueError for an empty or overlong password."""
    octets = password.encode()
    if not octets:
        raise ValueError("the password is empty")
    if len(octets) > MAX_PASSWORD_OCTETS:
        raise ValueError(f"the password is longer than {MAX_PASSWORD_OCTETS} octets")
    return octets


def hash_password(password: str) -> str:
    """A new argon2id hash. Raises ValueError for an empty or overlong password."""
    octets = hashable(password)
    salt = secrets.token_bytes(_SALT_OCTETS)
    digest = argon2_memory.derive(
        octets, salt, Type.ID,
        time_cost=TIME_COST, memory_kib=MEMORY_KIB, lanes=PARALLELISM, length=_HASH_OCTETS, version=ARGON2_VERSION,
    )  # fmt: skip
    return f"{_PARAMETERS}{_unpadded(salt)}${_unpadded(digest)}"


def _unpadded(octets: bytes) -> str:
    return base64.b64encode(octets).decode().rstrip("=")


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
    form = FORMS.get(scheme)
    return form is not None and form.check(octets, payload)


def split_scheme(stored: str) -> tuple[str, str]:
    """Scheme (in upper case, one name for each form) and payload of a stored form; payloads that tell their form by
    themselves need no {SCHEME}. An encoding (`{SSHA.HEX}`) is undone."""
    match = _SCHEME.match(stored)
    scheme, payload = "", stored
    if match is not None:
        scheme, payload = match[1].upper().replace("_", "-"), stored[match.end() :]
        scheme, dot, encoding = scheme.rpartition(".") if "." in scheme else (scheme, "", "")
        scheme = _SPELLINGS.get(scheme, scheme)
        if dot:
            payload = _without_encoding(scheme, encoding, payload)
    if scheme == "MD5":  # Dovecot's is that of crypt(3), LDAP's the plain digest
        scheme = "CRYPT" if payload.startswith("$1$") else "LDAP-MD5"
    if scheme in ("", "CRYPT"):
        scheme = next((name for start, name in _BEGINNINGS if payload.startswith(start)), scheme)
    return scheme, payload


def _without_encoding(scheme: str, encoding: str, payload: str) -> str:
    """The payload in its usual encoding (Dovecot's .B64, .BASE64, .HEX); empty where it cannot be."""
    try:
        if encoding == "HEX":
            octets = bytes.fromhex(payload)
        elif encoding in ("B64", "BASE64"):
            octets = base64.b64decode(payload + "=" * (-len(payload) % 4), validate=True)
        else:
            return ""
    except (binascii.Error, ValueError):
        return ""
    return base64.b64encode(octets).decode() if scheme in DIGESTS else octets.decode("utf-8", "surrogateescape")


def is_supported(stored: str) -> bool:
    """True when a ready hash can ever be verified here; imports refuse others instead of making dead accounts."""
    if not stored or len(stored) > _MAX_STORED:
        return False
    scheme, payload = split_scheme(stored)
    form = FORMS.get(scheme)
    return form is not None and bool(payload) and form.fits(payload)


def needs_upgrade(stored: str) -> bool:
    """True when the form is not what `hash_password` makes today; it is replaced at the next successful login."""
    scheme, payload = split_scheme(stored)
    return scheme != "ARGON2ID" or not payload.startswith(_PARAMETERS)
