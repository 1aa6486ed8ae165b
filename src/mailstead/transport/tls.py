"""Server side of TLS over memory buffers, without I/O.

Invariants: ciphertext in and out are plain bytes, so that a connection can change to TLS at any point without a
change of protocol object (no window in which plain text could be taken for protected text); after a failure
nothing more is decrypted.

Why not the event loop's own TLS: it allocates its read buffers per connection (278 KB in asyncio), and its
upgrade of a running connection is asynchronous, which is where STARTTLS injections come from.
"""

from __future__ import annotations

import hashlib
import ssl
from dataclasses import dataclass

_RECORD = 16384


@dataclass(frozen=True, slots=True)
class TlsInfo:
    """What was negotiated. `channel_binding` is tls-server-end-point (RFC 5929 section 4) or empty."""

    version: str
    cipher: str
    bits: int
    sni: str
    channel_binding: bytes


class _ServerObject(ssl.SSLObject):
    """An SSLObject that remembers the name the client asked for."""

    sni = ""


class ServerContext(ssl.SSLContext):
    """A server-side context that knows the hash of the certificate it serves."""

    channel_binding: bytes = b""
    sslobject_class = _ServerObject


def remember_server_name(obj: object, name: str | None, _context: ssl.SSLContext) -> None:
    """`sni_callback` that records the requested name and changes nothing."""
    if name and isinstance(obj, _ServerObject):
        obj.sni = name[:255]


def end_point_hash(der: bytes, signature_hash: str | None) -> bytes:
    """RFC 5929 section 4.1: the certificate under its signature's hash, MD5 and SHA-1 replaced by SHA-256."""
    name = (signature_hash or "sha256").lower()
    if name in ("md5", "sha1"):
        name = "sha256"
    return hashlib.new(name, der).digest()


class TlsEngine:
    """One TLS session: `feed` ciphertext, get plain text; `encrypt` plain text, get ciphertext from `outgoing`."""

    __slots__ = ("_in", "_object", "_out", "established", "peer_closed")

    def __init__(self, context: ssl.SSLContext) -> None:
        self._in = ssl.MemoryBIO()
        self._out = ssl.MemoryBIO()
        self._object = context.wrap_bio(self._in, self._out, server_side=True)
        self.established = False
        self.peer_closed = False

    def handshake(self, data: bytes) -> bool:
        """Take handshake octets; True when it is complete. Raises ssl.SSLError when it failed."""
        if data:
            self._in.write(data)
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        self.established = True
        return True

    def info(self) -> TlsInfo:
        """What the finished handshake settled."""
        cipher = self._object.cipher() or ("", "", 0)
        return TlsInfo(
            version=self._object.version() or "",
            cipher=cipher[0],
            bits=cipher[2] or 0,
            sni=getattr(self._object, "sni", ""),
            channel_binding=getattr(self._object.context, "channel_binding", b""),
        )

    def feed(self, data: bytes) -> bytes:
        """Decrypt what `data` completes. Raises ssl.SSLError on a damaged stream."""
        self._in.write(data)
        return self.read()

    def read(self) -> bytes:
        """Decrypt what lies ready."""
        obj = self._object
        incoming = self._in
        parts: list[bytes] = []
        try:
            while True:
                part = obj.read(_RECORD)
                if not part:
                    self.peer_closed = True
                    break
                parts.append(part)
                if not incoming.pending and not obj.pending():
                    break
        except ssl.SSLWantReadError:
            pass  # the next record is not complete yet
        except ssl.SSLZeroReturnError:
            self.peer_closed = True
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def encrypt(self, data: bytes | bytearray | memoryview) -> bytes:
        """Ciphertext of `data`, preceded by whatever the session itself had to say."""
        view = memoryview(data)
        while view:
            view = view[self._object.write(view) :]
        return self._out.read()

    def outgoing(self) -> bytes:
        """Ciphertext the session itself wants sent (handshake, alerts, tickets)."""
        return self._out.read() if self._out.pending else b""

    def close_notify(self) -> bytes:
        """The alert that ends our side (RFC 8446 section 6.1)."""
        try:
            self._object.unwrap()
        except ssl.SSLError:
            pass  # the peer has not answered, and need not
        return self.outgoing()
