"""BDAT (RFC 3030): the message in chunks of a known size."""

from __future__ import annotations

from mailstead.smtp import acceptance
from mailstead.smtp.data import Incoming
from mailstead.smtp.grammar import BadCommand, parse_bdat
from mailstead.smtp.session import Session, Transaction


class ChunkSink:
    """Takes the octets of one chunk; without a transaction they are dropped and ``refusal`` said."""

    __slots__ = ("_last", "_left", "_refusal", "_session", "_size", "_transaction")

    def __init__(self, session: Session, transaction: Transaction | None, size: int, last: bool, refusal: bytes) -> None:
        self._session = session
        self._transaction = transaction
        self._size = self._left = size
        self._last = last
        self._refusal = refusal

    def take(self, data: bytes, start: int) -> int:
        """See Sink."""
        end = min(len(data), start + self._left)
        self._left -= end - start
        incoming = self._transaction.incoming if self._transaction is not None else None
        wants_flush = incoming is not None and incoming.add(data[start:end])
        if not self._left:
            self.complete()
        elif incoming is not None:
            self._session.after_piece(incoming, wants_flush)
        return end

    def complete(self) -> None:
        """The chunk is whole."""
        session, transaction = self._session, self._transaction
        session.command_mode()
        if transaction is None or transaction.incoming is None:
            session.error(self._refusal)
        elif self._last:
            acceptance.finish(session, transaction, transaction.incoming)
        elif transaction.incoming.too_large:
            session.reply(b"552 5.3.4 Message too big\r\n")
        elif transaction.incoming.broken:
            session.reply(b"452 4.3.1 Insufficient system storage\r\n")
        elif transaction.incoming.failed:
            session.reply(b"554 5.6.0 The message is refused already\r\n")
        else:
            session.reply(b"250 2.0.0 %d octets received\r\n" % self._size)


def bdat(session: Session, arguments: bytes, more: bool) -> None:
    """Take a chunk. Its octets come whatever is wrong, so they are read before a refusal is said."""
    if not session.options.chunking:
        session.error(b"502 5.5.1 Command not implemented\r\n")
        return
    try:
        size, last = parse_bdat(arguments)
    except BadCommand as bad:
        # How many octets follow is not known, so nothing that follows can be understood.
        session.goodbye(bad.reply + b"421 4.7.0 %b Cannot go on after that\r\n")
        return
    transaction = session.transaction
    refusal = b""
    if transaction is None:
        refusal = b"503 5.5.1 Send MAIL first\r\n"
    elif not transaction.recipients:
        refusal = b"554 5.5.1 No valid recipients\r\n" if transaction.refused else b"503 5.5.1 Send RCPT first\r\n"
        transaction = None
    else:
        transaction.chunking = True
        if transaction.incoming is None:
            options = session.options
            strict = options.strict and transaction.parameters.body != "BINARYMIME"
            transaction.incoming = Incoming(options.max_size, strict, session.server.services.delivery.spool)
    sink = ChunkSink(session, transaction, size, last, refusal)
    if size:
        session.data_mode(sink)
    else:
        sink.complete()
