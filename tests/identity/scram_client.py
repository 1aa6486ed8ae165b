"""A SCRAM client for the tests, written from RFC 5802 apart from the server."""

from __future__ import annotations

import base64
import hashlib
import hmac


class ScramClient:
    """One exchange with any header (`n,,`, `y,,`, `p=tls-server-end-point,,`) and binding data."""

    def __init__(
        self, algorithm: str, user: str, password: str, header: str = "n,,", binding: bytes = b"", nonce: str = "abc"
    ) -> None:
        self.algorithm, self.password, self.header, self.binding = algorithm, password, header, binding
        self.bare = f"n={user.replace('=', '=3D').replace(',', '=2C')},r={nonce}"
        self.signature = b""

    def first(self) -> bytes:
        return (self.header + self.bare).encode()

    def final(self, challenge: bytes) -> bytes:
        server = challenge.decode()
        fields = dict(part.split("=", 1) for part in server.split(","))
        salted = hashlib.pbkdf2_hmac(self.algorithm, self.password.encode(), base64.b64decode(fields["s"]), int(fields["i"]))
        client_key = hmac.digest(salted, b"Client Key", self.algorithm)
        bound = base64.b64encode(self.header.encode() + self.binding).decode()
        without = f"c={bound},r={fields['r']}"
        message = f"{self.bare},{server},{without}".encode()
        stored = hashlib.new(self.algorithm, client_key).digest()
        proof = bytes(a ^ b for a, b in zip(client_key, hmac.digest(stored, message, self.algorithm), strict=True))
        self.signature = b"v=" + base64.b64encode(
            hmac.digest(hmac.digest(salted, b"Server Key", self.algorithm), message, self.algorithm)
        )
        return f"{without},p={base64.b64encode(proof).decode()}".encode()
