"""Secrets that have to be used again (passwords at other servers), kept under the node's master key.

Invariants: the key is a file of its own, readable by its owner only, durable before anything is sealed with it, and not in
the database: whoever has only the database, or a backup of it, has no secret. A sealed text opens only under the
context it was sealed for, so that it cannot be moved to another row.

AES-256-GCM with a random nonce; the text form is `s1.` and base64 of nonce and ciphertext.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_FILE = "master.key"
_KEY_OCTETS = 32
_NONCE_OCTETS = 12
_VERSION = "s1."


class SealError(Exception):
    """The text cannot be opened: another key, another context, or damaged."""


class Sealer:
    """Over `keys/` of a data directory. Opening one makes nothing; the key is made when first needed."""

    def __init__(self, keys: Path) -> None:
        self._path = keys / KEY_FILE
        self._key: AESGCM | None = None

    def seal(self, text: str, context: str) -> str:
        """The sealed form of `text`; `context` names what it belongs to. Raises OSError, SealError."""
        nonce = secrets.token_bytes(_NONCE_OCTETS)
        sealed = self._load(make=True).encrypt(nonce, text.encode(), context.encode())
        return _VERSION + base64.b64encode(nonce + sealed).decode()

    def open(self, sealed: str, context: str) -> str:
        """The text. Raises SealError, OSError."""
        try:
            octets = base64.b64decode(sealed.removeprefix(_VERSION), validate=True)
            if not sealed.startswith(_VERSION) or len(octets) <= _NONCE_OCTETS:
                raise SealError("not a sealed text")
            return self._load(make=False).decrypt(octets[:_NONCE_OCTETS], octets[_NONCE_OCTETS:], context.encode()).decode()
        except (binascii.Error, InvalidTag, ValueError) as error:
            raise SealError(f"a secret cannot be opened with {self._path}") from error
        except FileNotFoundError as error:
            raise SealError(f"{self._path} is missing") from error

    def _load(self, *, make: bool) -> AESGCM:
        if self._key is None:
            if make and not self._path.exists():
                self._make()
            key = self._path.read_bytes()
            if len(key) != _KEY_OCTETS:
                raise SealError(f"{self._path} is damaged")
            self._key = AESGCM(key)
        return self._key

    def _make(self) -> None:
        """Another process may do the same at this moment: the first one's key is everybody's."""
        self._path.parent.mkdir(mode=0o750, exist_ok=True)
        draft = self._path.with_name(f"{KEY_FILE}.{os.getpid()}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, secrets.token_bytes(_KEY_OCTETS))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        with contextlib.suppress(FileExistsError):
            os.link(draft, self._path)
        draft.unlink()
        directory = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
