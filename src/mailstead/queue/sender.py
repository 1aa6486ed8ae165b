"""One attempt: a message, some recipients of one destination, and the hosts that may take it.

Invariants: every recipient gets exactly one outcome; after the final dot without a reply no other host is tried (the
first may have taken the message); a message that cannot be read is deferred, never bounced; nothing is sent to a
host in the clear where ``requireTls`` or ``verifyCertificates`` forbids it.

Hosts are tried in the order of the relay list until one takes a decision: a host that cannot be reached, greets with
an error, or is lost before the end of data hands on to the next (RFC 5321 5.1). A failed TLS handshake is followed
by one try in the clear where TLS is not demanded (SMO-16).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

from mailstead.observe.log import get_logger
from mailstead.queue.body import LogSource, MessageBody, has_long_line
from mailstead.queue.entry import Entry, Recipient
from mailstead.queue.outcome import Kind, Outcome, from_result
from mailstead.queue.pool import ConnectionPool, Key
from mailstead.queue.routing import Lookups, OwnAddress, Target, Transport, Unroutable, no_transport, relay_list
from mailstead.queue.smtp_client import ConnectionFailed, SmtpConnection, Timeouts, TlsFailed
from mailstead.queue.smtp_engine import ClientSession, Envelope, RecipientResult, Unusable
from mailstead.queue.tls_contexts import ClientContexts
from mailstead.store.record import DamagedRecord

MAX_HOSTS_TRIED = 8
MAX_SESSIONS = 3
CHECK_AFTER_IDLE = 1.0
TRANSACTION_SECONDS = 2 * 3600
_EARLY = ("MAIL", "RCPT", "RSET", "DATA")
log = get_logger("SMTP-OUT")


class Sender:
    """``ca_bundle()`` gives the path of trusted authorities, '' for the system's; ``transport`` the host of a domain whose mail
    goes to one of its own, whatever its MX and the smart host."""

    def __init__(
        self,
        source: LogSource,
        resolver: Lookups,
        hostname: str,
        is_own: OwnAddress,
        ca_bundle: Callable[[], str] = lambda: "",
        transport: Transport = no_transport,
    ) -> None:
        self._source = source
        self._resolver = resolver
        self._hostname = hostname
        self._is_own = is_own
        self._ca_bundle = ca_bundle
        self._transport = transport
        self._contexts = ClientContexts()
        self.pool = ConnectionPool()

    async def deliver(self, entry: Entry, recipients: Sequence[Recipient], destination: str, settings: Any) -> list[Outcome]:
        """An outcome per recipient, in order. ``destination`` is a domain or the smart host; ``settings`` the context
        smtpOutgoing. Raises nothing but CancelledError and faults of our own."""
        try:
            async with asyncio.timeout(TRANSACTION_SECONDS):
                return await self._deliver(entry, recipients, destination, settings)
        except TimeoutError:
            return [Outcome(Kind.DEFERRED, "4.4.2", "the attempt took too long")] * len(recipients)
        except (OSError, DamagedRecord) as error:
            log.error("queued message cannot be read", message=entry.mid, reason=str(error))
            return [Outcome(Kind.DEFERRED, "4.3.0", "the message cannot be read now")] * len(recipients)

    async def _deliver(self, entry: Entry, recipients: Sequence[Recipient], destination: str, settings: Any) -> list[Outcome]:
        transport = self._transport(destination)
        smart = bool(settings.smartHost) and transport is None
        name, port = transport or (destination, int(settings.smartHostPort if smart else settings.remotePort))
        try:
            targets = await relay_list(self._resolver, name, port, ipv6=bool(settings.enableIPv6), is_own=self._is_own)
        except Unroutable as error:
            kind = Kind.FAILED if error.status.startswith("5") else Kind.DEFERRED
            outcome = Outcome(kind, error.status, str(error), unreached=kind is Kind.DEFERRED)
            return [outcome] * len(recipients)
        body = MessageBody(self._source, entry)
        envelope = self._envelope(entry, recipients, body)
        last = Outcome(Kind.DEFERRED, "4.4.1", "no host could be tried", unreached=True)
        sessions = 0
        for target in targets[:MAX_HOSTS_TRIED]:
            try:
                connection, reused = await self._connection(target, smart, settings)
            except (ConnectionFailed, Unusable) as error:
                last = self._unreached(entry, target, error)
                continue
            sessions += 1
            try:
                results = await self._transaction(connection, reused, target, smart, settings, envelope, body)
            except ConnectionFailed as error:
                last = self._lost(entry, target, error)
                if error.stage == "end of data" or sessions >= MAX_SESSIONS:
                    break
                continue
            except Unusable as error:
                last = self._unreached(entry, target, error)
                continue
            outcomes = [from_result(result, target.host, target.address, results[1]) for result in results[0]]
            if all(o.kind is Kind.DEFERRED and o.code == 421 for o in outcomes) and sessions < MAX_SESSIONS:
                last = outcomes[0]
                continue
            return outcomes
        return [last] * len(recipients)

    def _envelope(self, entry: Entry, recipients: Sequence[Recipient], body: MessageBody) -> Envelope:
        details = [recipient.wishes for recipient in recipients]
        return Envelope(
            entry.sender,
            [recipient.address for recipient in recipients],
            details,
            body.size,
            utf8_header=details[0].smtputf8 and not body.head().isascii(),
        )

    # -- connections -------------------------------------------------------------------------------------------

    async def _connection(self, target: Target, smart: bool, settings: Any) -> tuple[SmtpConnection, bool]:
        """A connection ready for MAIL, and whether it has been used before. Raises ConnectionFailed, Unusable."""
        kept = self.pool.take(self._key(target, smart, settings))
        if kept is not None:
            idle = asyncio.get_running_loop().time() - kept.idle_since
            try:
                if idle < CHECK_AFTER_IDLE or await kept.run(kept.session.reset()):
                    return kept, True
            except ConnectionFailed:
                pass  # the host has closed it meanwhile: a new one takes its place
            self.pool.discard(kept)
        return await self._connect(target, smart, settings), False

    @staticmethod
    def _key(target: Target, smart: bool, settings: Any) -> Key:
        # A certificate that was valid for one name says nothing about another name of the same address.
        name = target.host if settings.verifyCertificates else ""
        return (f"{settings.smartHostUser}@smart" if smart else name, target.address, target.port)

    async def _connect(self, target: Target, smart: bool, settings: Any) -> SmtpConnection:
        """A new connection, in TLS where possible. Raises ConnectionFailed, Unusable."""
        demanded = bool(settings.requireTls or settings.verifyCertificates)
        try:
            return await self._open(target, smart, settings, bool(settings.allowStartTLS) or demanded, demanded)
        except TlsFailed as error:
            implicit = smart and settings.smartHostTls
            if demanded or implicit:
                raise
            log.warning("TLS failed, trying in the clear", host=target.host, address=target.address, reason=str(error))
            return await self._open(target, smart, settings, False, False)

    async def _open(self, target: Target, smart: bool, settings: Any, starttls: bool, demanded: bool) -> SmtpConnection:
        context = self._contexts.get(settings, self._ca_bundle())
        implicit = bool(smart and settings.smartHostTls)
        session = ClientSession(str(settings.hostname) or self._hostname)
        timeouts = Timeouts(
            connect=float(settings.connectTimeout),
            command=float(settings.commandTimeout),
            data=min(120.0, float(settings.commandTimeout)),
            block=min(180.0, float(settings.dataTimeout)),
            final=float(settings.dataTimeout),
            tls=min(60.0, float(settings.commandTimeout)),
        )
        local = str(settings.localAddress6 if ":" in target.address else settings.localAddress)
        connection = await SmtpConnection.connect(
            target.host, target.address, target.port, session, timeouts, local=local, tls=context if implicit else None
        )
        try:
            await connection.run(session.open())
            if starttls and not implicit:
                await connection.run(session.start_tls(), tls=context)
            if demanded and not session.tls:
                raise Unusable("STARTTLS", "the host offers no TLS, and TLS is required", "4.7.4")
            if smart and settings.smartHostUser:
                allowed = tuple(settings.smartHostAuthTypes)
                await connection.run(session.authenticate(str(settings.smartHostUser), str(settings.smartHostPassword), allowed))
        except Unusable:
            self.pool.discard(connection)
            raise
        except BaseException:
            connection.abort()
            raise
        return connection

    # -- the transaction ---------------------------------------------------------------------------------------

    async def _transaction(
        self,
        connection: SmtpConnection,
        reused: bool,
        target: Target,
        smart: bool,
        settings: Any,
        envelope: Envelope,
        body: MessageBody,
    ) -> tuple[list[RecipientResult], str]:
        """Results per recipient and the name of the TLS; a kept connection that turns out dead is replaced once."""
        if "CHUNKING" in connection.session.extensions and not envelope.long_lines:
            envelope.long_lines = await _long_lines(body)
        try:
            results = await self._run(connection, envelope, body)
        except ConnectionFailed as error:
            if not reused or error.stage not in _EARLY:
                raise
            connection = await self._connect(target, smart, settings)
            results = await self._run(connection, envelope, body)
        self.pool.put(
            self._key(target, smart, settings),
            connection,
            float(settings.keepAliveTimeout),
            int(settings.maxMessagesPerConnection),
        )
        return results, connection.tls_name

    @staticmethod
    async def _run(connection: SmtpConnection, envelope: Envelope, body: MessageBody) -> list[RecipientResult]:
        try:
            return await connection.run(connection.session.transaction(envelope), body)
        except ConnectionFailed:
            raise
        except BaseException:
            # Cancelled, or the message cannot be read: what the host has heard is not whole.
            connection.abort()
            raise

    # -- words -------------------------------------------------------------------------------------------------

    @staticmethod
    def _unreached(entry: Entry, target: Target, error: ConnectionFailed | Unusable) -> Outcome:
        status, code = "4.4.1", 0
        if isinstance(error, Unusable):
            status = error.status if error.status.startswith("4") else "4" + error.status[1:]
            code = error.reply.code if error.reply else 0
        elif error.stage != "connect":
            status = "4.7.5" if isinstance(error, TlsFailed) else "4.4.2"
        log.info(
            "host not usable", message=entry.mid, host=target.host, address=target.address, port=target.port, reason=str(error)
        )
        text = f"{target.address}: {error}"
        return Outcome(Kind.DEFERRED, status, text, target.host, target.address, code, unreached=True)

    @staticmethod
    def _lost(entry: Entry, target: Target, error: ConnectionFailed) -> Outcome:
        log.info(
            "connection lost",
            message=entry.mid,
            host=target.host,
            address=target.address,
            port=target.port,
            stage=error.stage,
            reason=str(error),
        )
        text = f"lost at {error.stage}: {error}"
        return Outcome(Kind.DEFERRED, "4.4.2", text, target.host, target.address)


async def _long_lines(body: MessageBody) -> bool:
    for piece in body.pieces():
        if has_long_line(piece):
            return True
        if len(piece) > 64 * 1024:
            await asyncio.sleep(0)
    return False


def now() -> int:
    """Unix time in whole seconds, as the index keeps it."""
    return int(time.time())
