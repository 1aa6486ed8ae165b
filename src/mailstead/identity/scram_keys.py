"""SCRAM credentials (RFC 5802, RFC 7677): derived while the password is known in clear, kept beside its hash.

Invariants: never holds the password or the salted password; one salt and iteration count per mechanism; the text
form is what the directory stores.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import stringprep
import unicodedata
from dataclasses import dataclass

ITERATIONS = 4096
"""RFC 7677 section 4: at least 4096; the hash of the password itself is argon2id, and logins stay cheap."""
HASHES = {"SCRAM-SHA-1": "sha1", "SCRAM-SHA-256": "sha256"}
MAX_LENGTH = 1024


@dataclass(frozen=True, slots=True)
class ScramKeys:
    """What a server keeps of a password for one mechanism (RFC 5802 section 3)."""

    salt: bytes
    iterations: int
    stored_key: bytes
    server_key: bytes


def saslprep(text: str) -> str:
    """RFC 4013 preparation of a name or password. Raises ValueError for prohibited input."""
    if text.isascii():
        if any(ord(character) < 32 or ord(character) == 127 for character in text):
            raise ValueError("control characters are prohibited")
        return text
    if len(text) > MAX_LENGTH:
        raise ValueError("too long")
    mapped = "".join(
        " " if stringprep.in_table_c12(character) else character for character in text if not stringprep.in_table_b1(character)
    )
    prepared = unicodedata.ucd_3_2_0.normalize("NFKC", mapped)
    for character in prepared:
        if _prohibited(character):
            raise ValueError("a prohibited character")
    _check_bidi(prepared)
    return prepared


def _prohibited(character: str) -> bool:
    return (
        stringprep.in_table_c12(character)
        or stringprep.in_table_c21_c22(character)
        or stringprep.in_table_c3(character)
        or stringprep.in_table_c4(character)
        or stringprep.in_table_c5(character)
        or stringprep.in_table_c6(character)
        or stringprep.in_table_c7(character)
        or stringprep.in_table_c8(character)
        or stringprep.in_table_c9(character)
    )


def _check_bidi(text: str) -> None:
    """RFC 3454 section 6."""
    if not any(stringprep.in_table_d1(character) for character in text):
        return
    if any(stringprep.in_table_d2(character) for character in text):
        raise ValueError("mixed writing directions")
    if not (stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])):
        raise ValueError("must begin and end with right-to-left characters")


def derive(mechanism: str, password: str, *, salt: bytes | None = None, iterations: int = ITERATIONS) -> ScramKeys:
    """Keys of a password. Raises ValueError when SASLprep refuses the password."""
    algorithm = HASHES[mechanism]
    used = secrets.token_bytes(16) if salt is None else salt
    salted = hashlib.pbkdf2_hmac(algorithm, saslprep(password).encode(), used, iterations)
    client_key = hmac.digest(salted, b"Client Key", algorithm)
    return ScramKeys(used, iterations, hashlib.new(algorithm, client_key).digest(), hmac.digest(salted, b"Server Key", algorithm))


def derive_all(password: str) -> str:
    """Stored form of the keys for every mechanism; no keys (but not empty) when SASLprep refuses the password."""
    try:
        return dump({mechanism: derive(mechanism, password) for mechanism in HASHES})
    except ValueError:
        return dump({})


def dump(keys: dict[str, ScramKeys]) -> str:
    """Text form for storage."""
    return json.dumps(
        {name: [_b64(key.salt), key.iterations, _b64(key.stored_key), _b64(key.server_key)] for name, key in keys.items()},
        separators=(",", ":"),
    )


def load(stored: str) -> dict[str, ScramKeys]:
    """Keys out of their text form; empty for an empty text."""
    if not stored:
        return {}
    return {
        name: ScramKeys(base64.b64decode(salt), iterations, base64.b64decode(key), base64.b64decode(server))
        for name, (salt, iterations, key, server) in json.loads(stored).items()
    }


def _b64(octets: bytes) -> str:
    return base64.b64encode(octets).decode()
