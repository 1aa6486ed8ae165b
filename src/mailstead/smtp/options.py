"""The settings of the service in the form sessions use, made once per change of the settings.

Invariants: an `Options` never changes; a session takes the current one at its start and at each MAIL.
"""

from __future__ import annotations

from typing import Any

from mailstead.delivery.host import host_name
from mailstead.identity.sasl import mechanisms
from mailstead.observe.log import get_logger
from mailstead.settings.declaration import InvalidValueError
from mailstead.settings.ip_set import IpSet, address_number
from mailstead.smtp.grammar import Extensions


class Options:
    """What `smtpIncoming` and `server` say."""

    def __init__(self, settings: Any) -> None:
        self.source = source = settings.peek("smtpIncoming")
        self.server = settings.peek("server")
        self.host = host_name(settings)
        text = "".join(sign if sign.isprintable() else " " for sign in source.smtpGreeting).strip()
        self.greeting = f"220 {self.host} {text}\r\n".encode()
        self.max_size = source.maxDataSize * 1024
        self.max_recipients: int = source.maxRcptCount or 1 << 30
        self.max_received: int = source.maxReceivedHeaders
        self.max_transactions: int = source.maxTransactions
        self.strict: bool = source.rejectBareNewlines
        self.command_timeout = float(source.commandTimeout)
        self.data_timeout = float(source.dataTimeout)
        self.pipelining: bool = source.allowPipelining
        self.starttls: bool = source.allowStartTLS
        self.submission_auth: bool = source.requireAuthOnSubmission
        self.check_sender: bool = source.checkSenderLogin
        self.local: str = source.localDelivery
        self.remote: str = source.remoteDelivery
        self.extensions = Extensions(
            eight_bit=source.allow8bitMime,
            binary=source.allowBinaryData and source.allow8bitMime,
            dsn=source.allowDSN,
            utf8=source.allowSmtpUtf8 and source.allow8bitMime,
        )
        self.chunking: bool = source.allowBinaryData
        self._networks = _networks(source.relayNetworks)
        self._ehlo: dict[tuple[bool, bool, bool], bytes] = {}

    def is_current(self, settings: Any) -> bool:
        """Whether the settings are still those this was made from."""
        return settings.peek("smtpIncoming") is self.source and settings.peek("server") is self.server

    def relays_for(self, peer: str) -> bool:
        """Whether a peer may send to other servers without authentication (SMI-12)."""
        if not self._networks:
            return False
        try:
            number = address_number(peer)
        except InvalidValueError:
            return False
        return any(number in network for network in self._networks)

    def mechanisms(self, tls: bool, binding: bytes | None) -> list[str]:
        """SASL mechanisms on offer (SMI-09)."""
        return mechanisms(self.source, tls, binding or None, recoverable=self.server.recoverableSecrets)

    def ehlo(self, tls: bool, starttls: bool, binding: bytes | None) -> bytes:
        """The whole reply to EHLO; with `starttls` the connection could begin TLS."""
        key = (tls, starttls, bool(binding))
        found = self._ehlo.get(key)
        if found is None:
            found = self._ehlo[key] = self._make_ehlo(tls, starttls, binding)
        return found

    def _make_ehlo(self, tls: bool, starttls: bool, binding: bytes | None) -> bytes:
        words = [self.host]
        if self.pipelining:
            words.append("PIPELINING")
        words.append(f"SIZE {self.max_size}" if self.max_size else "SIZE")
        offered = self.extensions
        if starttls and self.starttls:
            words.append("STARTTLS")
        names = self.mechanisms(tls, binding)
        if names:
            words.append("AUTH " + " ".join(names))
        words.append("ENHANCEDSTATUSCODES")
        if offered.eight_bit:
            words.append("8BITMIME")
        if self.chunking:
            words.append("CHUNKING")
        if offered.binary:
            words.append("BINARYMIME")
        if offered.dsn:
            words.append("DSN")
        if offered.utf8:
            words.append("SMTPUTF8")
        limits = []
        if self.max_transactions:
            limits.append(f"MAILMAX={self.max_transactions}")
        if self.source.maxRcptCount:
            limits.append(f"RCPTMAX={self.source.maxRcptCount}")
        if limits:
            words.append("LIMITS " + " ".join(limits))
        lines = [f"250-{word}\r\n" for word in words[:-1]]
        return ("".join(lines) + f"250 {words[-1]}\r\n").encode()


def _networks(words: tuple[str, ...]) -> list[IpSet]:
    networks = []
    for word in words:
        try:
            networks.append(IpSet.parse(word))
        except InvalidValueError as error:
            get_logger("SMTP-IN").error("relay network not understood", reason=str(error))
    return networks
