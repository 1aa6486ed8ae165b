"""DATA (RFC 5321 section 4.1.1.4)."""

from __future__ import annotations

from mailstead.smtp import acceptance
from mailstead.smtp.data import DataScanner, Incoming
from mailstead.smtp.grammar import BadCommand
from mailstead.smtp.session import Session, Transaction


class DataSink:
    """Takes the octets of a message up to the end of data."""

    __slots__ = ("_incoming", "_scanner", "_session", "_transaction")

    def __init__(self, session: Session, transaction: Transaction, incoming: Incoming) -> None:
        self._session = session
        self._transaction = transaction
        self._incoming = incoming
        self._scanner = DataScanner()

    def take(self, data: bytes, start: int) -> int:
        """See Sink."""
        content, end = self._scanner.feed(data, start)
        wants_flush = self._incoming.add(content)
        if end < 0:
            self._session.after_piece(self._incoming, wants_flush)
            return len(data)
        self._session.command_mode()
        acceptance.finish(self._session, self._transaction, self._incoming)
        return end


def data(session: Session, arguments: bytes, more: bool) -> None:
    """Go over to the message."""
    transaction = session.transaction
    if transaction is None:
        raise BadCommand(503, "5.5.1", "Send MAIL first")
    if arguments.strip():
        raise BadCommand(501, "5.5.4", "DATA takes no argument")
    if transaction.chunking or transaction.parameters.body == "BINARYMIME":
        raise BadCommand(503, "5.5.1", "Use BDAT for this message")
    if not transaction.recipients:
        if transaction.refused:
            session.reply(b"554 5.5.1 No valid recipients\r\n")
            return
        raise BadCommand(503, "5.5.1", "Send RCPT first")
    options = session.options
    transaction.incoming = incoming = Incoming(options.max_size, options.strict, session.server.services.delivery.spool)
    session.data_mode(DataSink(session, transaction, incoming))
    session.reply(b"354 End data with <CR><LF>.<CR><LF>\r\n")
