"""AUTH (RFC 4954): the exchange is `identity.sasl`'s, here is how SMTP carries it."""

from __future__ import annotations

import base64

from mailstead.identity.authenticator import AuthReason
from mailstead.identity.sasl import SaslExchange, SaslFormatError, SaslStep, SaslStepKind, decode_response
from mailstead.observe.metrics import logins
from mailstead.smtp.grammar import MAX_AUTH_LINE, BadCommand, parse_auth
from mailstead.smtp.session import Session

_OK = logins.labels("smtpIncoming", "ok")
_FAILED = logins.labels("smtpIncoming", "failed")

_REPLIES: dict[AuthReason, bytes] = {
    AuthReason.BAD_CREDENTIALS: b"535 5.7.8 Wrong name or password\r\n",
    AuthReason.DISABLED: b"535 5.7.13 The account is disabled\r\n",
    AuthReason.SERVICE_OFF: b"535 5.7.1 The account may not send mail here\r\n",
    AuthReason.EXPIRED: b"535 5.7.13 The password must be changed first\r\n",
    AuthReason.TEMPORARY: b"454 4.7.0 Try again later\r\n",
    AuthReason.LOCKED: b"454 4.7.0 Too many failed logins, try again later\r\n",
    AuthReason.MALFORMED: b"501 5.5.2 Malformed authentication\r\n",
}


class AuthSink:
    """Takes the client's responses, one line each."""

    __slots__ = ("_exchange", "_line", "_session")

    def __init__(self, session: Session, exchange: SaslExchange) -> None:
        self._session = session
        self._exchange = exchange
        self._line = b""

    def take(self, data: bytes, start: int) -> int:
        """See Sink."""
        end = data.find(b"\n", start)
        piece = data[start : end + 1] if end >= 0 else data[start:]
        if len(self._line) <= MAX_AUTH_LINE:
            self._line += piece[: MAX_AUTH_LINE + 2]
        if end < 0:
            return len(data)
        line, self._line = self._line, b""
        session = self._session
        if len(line) > MAX_AUTH_LINE or not line.endswith(b"\n"):
            session.command_mode()
            session.error(b"500 5.5.6 Authentication exchange line is too long\r\n")
        elif line.strip(b"\r\n") == b"*":
            session.command_mode()
            session.reply(b"501 5.7.0 Authentication cancelled\r\n")
        else:
            session.run(self.step(line.strip(b"\r\n")))
        return end + 1

    async def step(self, response: bytes | None) -> None:
        """One step of the exchange: challenge, success or refusal."""
        session = self._session
        if session.sink is self:
            session.command_mode()
        try:
            octets = decode_response(response) if response is not None else None
        except SaslFormatError:
            session.error(b"501 5.5.2 Not base64\r\n")
            return
        step = await self._exchange.step(octets)
        if step.kind is SaslStepKind.CHALLENGE:
            session.sink = self
            session.reply(b"334 %b\r\n" % base64.b64encode(step.data))
        elif step.kind is SaslStepKind.SUCCESS and step.account is not None:
            _OK.inc()
            mechanism, link = self._exchange.mechanism, session.link
            session.logged_in(step.account, mechanism)
            link.log.info("login", account=step.account.address, mechanism=mechanism, peer=link.peer[0])
            session.reply(b"235 2.7.0 Authentication successful\r\n")
        else:
            self._refuse(step)

    def _refuse(self, step: SaslStep) -> None:
        session = self._session
        _FAILED.inc()
        session.auth_errors += 1
        session.link.log.warning(
            "login failed", login=self._exchange.login, reason=step.reason.value, peer=session.link.peer[0]
        )
        session.reply(_REPLIES.get(step.reason, _REPLIES[AuthReason.BAD_CREDENTIALS]))
        limit = session.link.endpoint.max_auth_errors
        if limit and session.auth_errors >= limit:
            session.goodbye(b"421 4.7.0 %b Too many failed logins\r\n")


def auth(session: Session, arguments: bytes, more: bool) -> None:
    """Begin an exchange."""
    session.need_helo()
    if not session.extended:
        raise BadCommand(503, "5.5.1", "AUTH needs EHLO")
    if session.login is not None:
        raise BadCommand(503, "5.5.1", "Authenticated already")
    if session.transaction is not None:
        raise BadCommand(503, "5.5.1", "Not within a transaction")
    name, initial = parse_auth(arguments)
    link, options = session.link, session.options
    tls = link.tls
    binding = tls.channel_binding or None if tls is not None else None
    offered = options.mechanisms(tls is not None, binding)
    if name not in offered:
        if tls is None and name in options.mechanisms(True, b"x"):
            raise BadCommand(538, "5.7.11", "Encryption required for this mechanism")
        raise BadCommand(504, "5.5.4", "Mechanism not available")
    exchange = SaslExchange(
        name,
        session.server.services.authenticator,
        "smtpIncoming",
        link.peer[0],
        binding,
        offered=offered,
        default_domain=link.endpoint.listener_domain,
        host=options.host,
    )
    session.run(AuthSink(session, exchange).step(initial))
