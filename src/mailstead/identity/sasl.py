"""SASL (RFC 4422) as a server: which mechanisms are on offer, and the exchange of each.

Invariants:
- A response longer than 12 KB, an exchange longer than its mechanism, or a step after the end is refused.
- A name asked to act for (authzid) must be the authenticated account itself.
- DIGEST-MD5 (obsolete by RFC 6331), APOP and GSSAPI exist as values of settings and are never offered; CRAM-MD5 only
  where the administrator keeps recoverable secrets.

An exchange knows no protocol. A face that can wait for a line gives `converse` a way to ask for one; any other decodes
base64 (`decode_response`), handles `*` and sends what a step returns.
SCRAM's last server message goes out as a challenge that the client answers with nothing, which IMAP, SMTP and POP3
all know how to carry; SUCCESS therefore never has data of its own.
"""

from __future__ import annotations

import base64
import binascii
import enum
import hmac
import secrets
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Any

from mailstead.directory.model import Account
from mailstead.identity.authenticator import Authenticator, AuthReason, AuthResult
from mailstead.identity.scram import ScramError, ScramServer
from mailstead.identity.scram_keys import saslprep
from mailstead.settings.database import SystemDatabaseError

MAX_RESPONSE = 12_288
MAX_NAME = 1024
MAX_STEPS = 20

# Strongest first: clients often take the first they know.
_ORDER = (
    "SCRAM-SHA-256-PLUS",
    "SCRAM-SHA-1-PLUS",
    "SCRAM-SHA-256",
    "SCRAM-SHA-1",
    "CRAM-MD5",
    "PLAIN",
    "LOGIN",
)


class SaslFormatError(Exception):
    """A response that is not base64, or too long."""


class SaslCancelled(Exception):
    """The client answered a challenge with `*`."""


class SaslStepKind(enum.Enum):
    """What the face does next."""

    CHALLENGE = "send data, await a response"
    SUCCESS = "logged in"
    FAILURE = "refused"


@dataclass(frozen=True, slots=True)
class SaslStep:
    """One step: `data` of a challenge, `account` of a success (`final_data` is None), `reason` of a failure."""

    kind: SaslStepKind
    data: bytes = b""
    account: Account | None = None
    final_data: bytes | None = None
    reason: AuthReason = AuthReason.OK


def mechanisms(service_settings: Any, tls: bool, channel_binding: bytes | None = None, *, recoverable: bool = False) -> list[str]:
    """Mechanisms to offer, strongest first, by secureConnAuthTypes or plainConnAuthTypes (SMI-09, IMP-02).

    `recoverable` is the server's setting recoverableSecrets; -PLUS needs TLS and channel binding data.
    """
    allowed = service_settings.secureConnAuthTypes if tls else service_settings.plainConnAuthTypes
    offered = []
    for name in _ORDER:
        if name.lower() not in allowed:
            continue
        if name.endswith("-PLUS") and (not tls or channel_binding is None):
            continue
        if name == "CRAM-MD5" and not recoverable:
            continue
        offered.append(name)
    return offered


def decode_response(line: bytes) -> bytes:
    """Octets of a base64 response; `=` alone is the empty initial response. Raises SaslFormatError."""
    if line == b"=":
        return b""
    if len(line) > MAX_RESPONSE * 4 // 3 + 4:
        raise SaslFormatError("the response is too long")
    try:
        return base64.b64decode(line, validate=True)
    except (binascii.Error, ValueError) as error:
        raise SaslFormatError("the response is not base64") from error


class SaslExchange:
    """One authentication. Call `step(None)` (no initial response) or `step(response)` until it is no challenge.

    `offered` is the list the client was given (for the check against removed -PLUS mechanisms); without it -PLUS
    counts as offered whenever there is channel binding data. Raises ValueError for an unknown mechanism.
    """

    def __init__(
        self,
        mechanism: str,
        authenticator: Authenticator,
        service: str,
        peer: str,
        channel_binding: bytes | None = None,
        *,
        offered: Collection[str] | None = None,
        default_domain: str = "",
        host: str = "localhost",
    ) -> None:
        self.mechanism = mechanism.upper()
        if self.mechanism not in _ORDER:
            raise ValueError(f"the mechanism {mechanism[:40]!r} is not known")
        self.login = ""
        """The name the client gave, for logs."""
        self._authenticator = authenticator
        self._service = service
        self._peer = peer
        self._default_domain = default_domain
        self._host = host
        self._turn = 0
        self._done = False
        self._challenge = b""
        self._account: Account | None = None
        self._real = False
        plus = channel_binding is not None if offered is None else any(name.endswith("-PLUS") for name in offered)
        self._scram = (
            ScramServer(self.mechanism, channel_binding=channel_binding, plus_offered=plus)
            if self.mechanism.startswith("SCRAM")
            else None
        )

    async def step(self, response: bytes | None) -> SaslStep:
        """Take the client's next response (None: it sent no initial one) and say what comes next."""
        if self._done or (response is not None and len(response) > MAX_RESPONSE):
            return self._fail(AuthReason.MALFORMED)
        try:
            if self._scram is not None:
                return self._step_scram(self._scram, response)
            if self.mechanism == "PLAIN":
                return await self._step_plain(response)
            if self.mechanism == "LOGIN":
                return await self._step_login(response)
            return self._step_cram(response)
        except SystemDatabaseError:
            return self._fail(AuthReason.TEMPORARY)

    async def converse(self, initial: bytes | None, ask: Callable[[bytes], Awaitable[bytes]]) -> SaslStep:
        """The last step of the exchange, held in base64: `initial` is the client's initial response, `ask` sends a
        challenge and returns the client's line. Raises SaslCancelled, SaslFormatError, and what `ask` raises."""
        step = await self.step(None if initial is None else decode_response(initial))
        for _ in range(MAX_STEPS):
            if step.kind is not SaslStepKind.CHALLENGE:
                break
            line = await ask(base64.b64encode(step.data))
            if line == b"*":
                raise SaslCancelled
            step = await self.step(decode_response(line))
        return step

    # -- outcomes -------------------------------------------------------------------------------------------

    def _ask(self, data: bytes) -> SaslStep:
        self._turn += 1
        return SaslStep(SaslStepKind.CHALLENGE, data)

    def _fail(self, reason: AuthReason, account: Account | None = None) -> SaslStep:
        self._done = True
        return SaslStep(SaslStepKind.FAILURE, account=account, reason=reason)

    def _outcome(self, result: AuthResult) -> SaslStep:
        self._done = True
        if not result.ok:
            return self._fail(result.reason, result.account)
        return SaslStep(SaslStepKind.SUCCESS, account=result.account)

    def _may_act_for(self, authzid: str, account: Account | None) -> bool:
        """RFC 4422 section 3.4.1: nobody acts for another here."""
        if not authzid:
            return True
        other = self._authenticator.account_by_login(authzid, self._default_domain)
        return account is not None and other is not None and other.id == account.id

    # -- PLAIN (RFC 4616) and LOGIN -------------------------------------------------------------------------

    async def _step_plain(self, response: bytes | None) -> SaslStep:
        if response is None:
            return self._ask(b"") if self._turn == 0 else self._fail(AuthReason.MALFORMED)
        parts = response.split(b"\x00")
        if len(parts) != 3 or not parts[1] or not parts[2]:
            return self._fail(AuthReason.MALFORMED)
        try:
            authzid, login, password = (part.decode() for part in parts)
        except UnicodeDecodeError:
            return self._fail(AuthReason.MALFORMED)
        return await self._check_password(authzid, login, password)

    async def _step_login(self, response: bytes | None) -> SaslStep:
        if self._turn == 0 and response is None:
            return self._ask(b"Username:")
        if response is None:
            return self._fail(AuthReason.MALFORMED)
        try:
            text = response.decode()
        except UnicodeDecodeError:
            return self._fail(AuthReason.MALFORMED)
        if not self.login:
            if not text or "\x00" in text:
                return self._fail(AuthReason.MALFORMED)
            self.login = text[:MAX_NAME]
            return self._ask(b"Password:")
        if not text:
            return self._fail(AuthReason.BAD_CREDENTIALS)
        return await self._check_password("", self.login, text)

    async def _check_password(self, authzid: str, login: str, password: str) -> SaslStep:
        self._done = True
        self.login = login[:MAX_NAME]
        try:
            login, prepared = saslprep(login), saslprep(password)
        except ValueError:
            # Stored passwords may be older than the rule; the octets as they came are the last word.
            prepared = password
        result = await self._authenticator.verify_password(
            login, prepared, service=self._service, peer=self._peer, default_domain=self._default_domain
        )
        if not result.ok and result.reason is AuthReason.BAD_CREDENTIALS and prepared != password:
            result = await self._authenticator.verify_password(
                login, password, service=self._service, peer=self._peer, default_domain=self._default_domain
            )
        if result.ok and not self._may_act_for(authzid, result.account):
            return self._fail(AuthReason.BAD_CREDENTIALS, result.account)
        return self._outcome(result)

    # -- CRAM-MD5 (RFC 2195) --------------------------------------------------------------------------------

    def _step_cram(self, response: bytes | None) -> SaslStep:
        if self._turn == 0:
            if response is not None:
                return self._fail(AuthReason.MALFORMED)
            self._challenge = f"<{secrets.token_hex(12)}.{int(time.time())}@{self._host}>".encode()
            return self._ask(self._challenge)
        login, blank, digest = (response or b"").rpartition(b" ")
        try:
            self.login = login.decode()[:MAX_NAME]
        except UnicodeDecodeError:
            return self._fail(AuthReason.MALFORMED)
        if not blank or not self.login or len(digest) != 32:
            return self._fail(AuthReason.MALFORMED)
        if self._authenticator.blocked(self._peer, self.login):
            return self._fail(AuthReason.LOCKED)
        account = self._authenticator.account_by_login(self.login, self._default_domain)
        secret = self._authenticator.recoverable_secret(account) if account is not None else ""
        key = secret.encode() if secret else secrets.token_bytes(16)
        expected = hmac.new(key, self._challenge, "md5").hexdigest().encode()
        if not hmac.compare_digest(expected, digest.lower()) or account is None or not secret:
            self._authenticator.failed(self._peer, self.login)
            return self._fail(AuthReason.BAD_CREDENTIALS)
        return self._outcome(self._authenticator.finish(account, self.login, service=self._service, peer=self._peer))

    # -- SCRAM ----------------------------------------------------------------------------------------------

    def _step_scram(self, scram: ScramServer, response: bytes | None) -> SaslStep:
        if response is None:
            return self._ask(b"") if self._turn == 0 and not self.login else self._fail(AuthReason.MALFORMED)
        try:
            if not self.login:
                return self._scram_first(scram, response)
            if self._account is not None and self._challenge == b"verified":
                return self._scram_end(response)
            return self._scram_final(scram, response)
        except ScramError:
            if self.login:
                self._authenticator.failed(self._peer, self.login)
            return self._fail(AuthReason.MALFORMED)

    def _scram_first(self, scram: ScramServer, response: bytes) -> SaslStep:
        client = scram.read_first(response)
        try:
            self.login = saslprep(client.username)[:MAX_NAME]
        except ValueError:
            return self._fail(AuthReason.MALFORMED)
        if self._authenticator.blocked(self._peer, self.login):
            return self._fail(AuthReason.LOCKED)
        account = self._authenticator.account_by_login(self.login, self._default_domain)
        keys, real = self._authenticator.scram_keys(account, self.login, scram.hash_mechanism)
        self._account, self._real = account, real and self._may_act_for(client.authzid, account)
        return self._ask(scram.server_first(keys))

    def _scram_final(self, scram: ScramServer, response: bytes) -> SaslStep:
        signature = scram.server_final(response)
        account = self._account
        if signature is None or account is None or not self._real:
            self._authenticator.failed(self._peer, self.login)
            return self._fail(AuthReason.BAD_CREDENTIALS)
        current = self._authenticator.account_by_login(self.login, self._default_domain)
        if current is None or (current.id, current.auth_version) != (account.id, account.auth_version):
            # The password or a right changed while the exchange ran.
            return self._fail(AuthReason.BAD_CREDENTIALS)
        self._challenge = b"verified"
        return self._ask(signature)

    def _scram_end(self, response: bytes) -> SaslStep:
        if response:
            return self._fail(AuthReason.MALFORMED)
        account = self._authenticator.account_by_login(self.login, self._default_domain)
        if account is None or self._account is None or account.auth_version != self._account.auth_version:
            return self._fail(AuthReason.BAD_CREDENTIALS)
        return self._outcome(self._authenticator.finish(account, self.login, service=self._service, peer=self._peer))
