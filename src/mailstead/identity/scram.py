"""SCRAM as a server (RFC 5802, RFC 7677), without I/O and without a directory.

Invariants:
- Attributes are read in the order of the grammar; anything else is refused; mandatory extensions (m=) are refused.
- The proof is compared in constant time; the signature leaves only after it was right.
- Channel binding: `p` only in -PLUS mechanisms and only with tls-server-end-point; `y` is refused when -PLUS was
  offered, because then somebody in between removed it from the list (RFC 5802 section 6).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass

from mailstead.identity.scram_keys import HASHES, ScramKeys

BINDING_TYPE = "tls-server-end-point"
MAX_NONCE = 512
_NONCE = re.compile(r"[\x21-\x2b\x2d-\x7e]+", re.ASCII)
_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}", re.ASCII)
_EXTENSION = re.compile(r"[A-Za-z]=[^\x00,]*")


class ScramError(Exception):
    """The client's message breaks the grammar or the channel binding; the text is for logs."""


@dataclass(frozen=True, slots=True)
class ClientFirst:
    """The client's first message, taken apart."""

    header: str
    binding: str
    authzid: str
    username: str
    nonce: str
    bare: str


def parse_client_first(octets: bytes) -> ClientFirst:
    """Raises ScramError."""
    text = _text(octets)
    parts = text.split(",")
    if len(parts) < 4:
        raise ScramError("too few attributes")
    flag, authzid = parts[0], parts[1]
    if flag not in ("n", "y") and not flag.startswith("p="):
        raise ScramError("bad channel binding flag")
    if authzid and not authzid.startswith("a="):
        raise ScramError("bad authorization identity")
    attributes = parts[2:]
    if attributes[0].startswith("m="):
        raise ScramError("a mandatory extension")
    if not attributes[0].startswith("n=") or not attributes[1].startswith("r="):
        raise ScramError("expected user name and nonce")
    if not all(_EXTENSION.fullmatch(part) for part in attributes[2:]):
        raise ScramError("bad extension")
    nonce = attributes[1][2:]
    if not _NONCE.fullmatch(nonce) or len(nonce) > MAX_NONCE:
        raise ScramError("bad nonce")
    username = _saslname(attributes[0][2:])
    if not username:
        raise ScramError("empty user name")
    return ClientFirst(
        f"{flag},{authzid},",
        flag,
        _saslname(authzid[2:]),
        username,
        nonce,
        ",".join(attributes),
    )


def _text(octets: bytes) -> str:
    try:
        text = octets.decode()
    except UnicodeDecodeError as error:
        raise ScramError("not UTF-8") from error
    if "\x00" in text:
        raise ScramError("NUL")
    return text


def _saslname(text: str) -> str:
    """RFC 5802 section 5.1: `=2C` and `=3D`; any other `=` is an error."""
    if "=" not in text:
        return text
    if re.search(r"=(?!2C|3D)", text):
        raise ScramError("bad escape in a name")
    return text.replace("=2C", ",").replace("=3D", "=")


class ScramServer:
    """One exchange of `mechanism` (without -PLUS in `hash_name`). Use: `first`, then `final`."""

    def __init__(self, mechanism: str, *, channel_binding: bytes | None, plus_offered: bool, nonce: str | None = None) -> None:
        self.plus = mechanism.endswith("-PLUS")
        self.hash_mechanism = mechanism.removesuffix("-PLUS")
        self._algorithm = HASHES[self.hash_mechanism]
        self._binding = channel_binding
        self._plus_offered = plus_offered
        self._nonce = nonce or secrets.token_urlsafe(24)
        self._client: ClientFirst | None = None
        self._server_first = ""
        self._keys: ScramKeys | None = None

    def read_first(self, octets: bytes) -> ClientFirst:
        """Take the client's first message and check its channel binding flag. Raises ScramError."""
        client = parse_client_first(octets)
        if self.plus:
            if client.binding != f"p={BINDING_TYPE}" or self._binding is None:
                raise ScramError("this mechanism needs channel binding by tls-server-end-point")
        elif client.binding.startswith("p="):
            raise ScramError("channel binding in a mechanism without it")
        elif client.binding == "y" and self._plus_offered:
            raise ScramError("channel binding was taken off the list on the way")
        self._client = client
        return client

    def server_first(self, keys: ScramKeys) -> bytes:
        """The answer to the first message."""
        assert self._client is not None
        self._keys = keys
        salt = base64.b64encode(keys.salt).decode()
        self._server_first = f"r={self._client.nonce}{self._nonce},s={salt},i={keys.iterations}"
        return self._server_first.encode()

    def server_final(self, octets: bytes) -> bytes | None:
        """Check the client's proof: the server's signature, or None when it is wrong. Raises ScramError."""
        assert self._client is not None and self._keys is not None
        text = _text(octets)
        without_proof, mark, proof_text = text.rpartition(",p=")
        parts = without_proof.split(",")
        if not mark or len(parts) < 2 or not parts[0].startswith("c=") or not parts[1].startswith("r="):
            raise ScramError("expected channel binding, nonce and proof")
        if not all(_EXTENSION.fullmatch(part) for part in parts[2:]):
            raise ScramError("bad extension")
        binding = self._client.header.encode() + (self._binding or b"" if self.plus else b"")
        if not hmac.compare_digest(_decode(parts[0][2:]), binding):
            raise ScramError("channel bindings do not match")
        if not hmac.compare_digest(parts[1][2:].encode(), f"{self._client.nonce}{self._nonce}".encode()):
            raise ScramError("nonces do not match")
        proof = _decode(proof_text)
        message = f"{self._client.bare},{self._server_first},{without_proof}".encode()
        signature = hmac.digest(self._keys.stored_key, message, self._algorithm)
        if len(proof) != len(signature):
            raise ScramError("bad length of the proof")
        client_key = bytes(left ^ right for left, right in zip(proof, signature, strict=True))
        stored = hashlib.new(self._algorithm, client_key).digest()
        if not hmac.compare_digest(stored, self._keys.stored_key):
            return None
        return b"v=" + base64.b64encode(hmac.digest(self._keys.server_key, message, self._algorithm))


def _decode(text: str) -> bytes:
    if len(text) % 4 or not _BASE64.fullmatch(text):
        raise ScramError("bad base64")
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ScramError("bad base64") from error
