"""Encryption of a backup repository.

Invariants: every file is sealed under a key of its own (HKDF of the repository's key and a random salt) in chunks whose nonces
say where a chunk stands and which is the last, so that octets changed, left out, reordered or cut off are found; the
repository's key is random and lies in the repository only wrapped under a key from the key file or the passphrase.

AES-256-GCM; passphrases through scrypt (RFC 7914), key files through HKDF-SHA-256 (RFC 5869).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

MAGIC = b"MSBK\x01"
CHUNK = 1 << 20
_SALT = 32
_TAG = 16
HEADER = len(MAGIC) + _SALT
SCRYPT = {"n": 1 << 16, "r": 8, "p": 1}
MIN_KEY_FILE = 16


class SealError(Exception):
    """Octets are not what was sealed, or the key is not the right one."""


@dataclass(frozen=True, slots=True)
class Secret:
    """What the operator gives: the octets of a key file, or a passphrase."""

    octets: bytes
    passphrase: bool

    def __repr__(self) -> str:
        return "Secret(...)"


def _derive(key: bytes, salt: bytes, info: bytes) -> bytes:
    return HKDF(SHA256(), 32, salt, info).derive(key)


def _wrapping_key(secret: Secret, how: dict[str, Any]) -> bytes:
    salt = base64.b64decode(how["salt"])
    if not secret.passphrase:
        return _derive(secret.octets, salt, b"mailstead backup key file")
    n, r, p = int(how["n"]), int(how["r"]), int(how["p"])
    if not (2 <= n <= 1 << 20 and 1 <= r <= 32 and 1 <= p <= 16):
        raise SealError("impossible cost of the passphrase")
    return Scrypt(salt, 32, n, r, p).derive(secret.octets)


def new_key(secret: Secret) -> tuple[bytes, dict[str, Any]]:
    """A repository's key and what is written down of it. Raises SealError for a key file that is too short."""
    if not secret.passphrase and len(secret.octets) < MIN_KEY_FILE:
        raise SealError(f"a key file has at least {MIN_KEY_FILE} octets")
    if not secret.octets:
        raise SealError("the passphrase is empty")
    how: dict[str, Any] = {"kdf": "scrypt" if secret.passphrase else "hkdf", "salt": base64.b64encode(os.urandom(_SALT)).decode()}
    if secret.passphrase:
        how |= SCRYPT
    key, nonce = os.urandom(32), os.urandom(12)
    wrapped = AESGCM(_wrapping_key(secret, how)).encrypt(nonce, key, b"repository key")
    how["wrapped"] = base64.b64encode(nonce + wrapped).decode()
    return key, how


def open_key(secret: Secret, how: dict[str, Any]) -> bytes:
    """The repository's key. Raises SealError where the secret is not the one it was made with."""
    try:
        if how["kdf"] != ("scrypt" if secret.passphrase else "hkdf"):
            raise SealError("it was made with a " + ("passphrase" if how["kdf"] == "scrypt" else "key file"))
        wrapped = base64.b64decode(how["wrapped"])
        return AESGCM(_wrapping_key(secret, how)).decrypt(wrapped[:12], wrapped[12:], b"repository key")
    except InvalidTag:
        raise SealError("the key or passphrase is not the right one") from None
    except (KeyError, ValueError, TypeError) as error:
        raise SealError(f"the description of the key is damaged: {error}") from None


class Sealer:
    """Seals and opens files under a repository's key; ``name`` of a file is authenticated with it."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._names = _derive(key, b"", b"names of pieces")

    def piece_name(self, digest: bytes) -> str:
        """The name of a piece with that hash, which tells nothing of it without the key."""
        return hmac.digest(self._names, digest, hashlib.sha256).hex()

    def seal(self, chunks: Iterable[bytes], name: str) -> Iterator[bytes]:
        """Sealed octets; ``chunks`` have ``CHUNK`` octets each but for the last."""
        salt = os.urandom(_SALT)
        aead, number = AESGCM(_derive(self._key, salt, name.encode())), 0
        yield MAGIC + salt
        held: bytes | None = None
        for chunk in chunks:
            if held is not None:
                yield aead.encrypt(_nonce(number, last=False), held, None)
                number += 1
            held = chunk
        yield aead.encrypt(_nonce(number, last=True), held or b"", None)

    def open(self, read: Callable[[int], bytes], name: str) -> Iterator[bytes]:
        """The octets that were sealed; ``read`` gives the next so many of the file, fewer at its end. Raises SealError."""
        head = read(HEADER)
        if len(head) != HEADER or not head.startswith(MAGIC):
            raise SealError("it is not a sealed file")
        aead, number = AESGCM(_derive(self._key, head[len(MAGIC) :], name.encode())), 0
        held = read(CHUNK + _TAG)
        while True:
            following = read(CHUNK + _TAG) if len(held) == CHUNK + _TAG else b""
            try:
                yield aead.decrypt(_nonce(number, last=not following), held, None)
            except (InvalidTag, ValueError):
                raise SealError("its octets are damaged, cut off, or sealed with another key") from None
            if not following:
                return
            held, number = following, number + 1


def _nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(11, "big") + (b"\x01" if last else b"\x00")
