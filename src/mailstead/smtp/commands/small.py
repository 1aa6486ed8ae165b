"""RSET, NOOP, VRFY, EXPN, HELP, QUIT (RFC 5321 sections 4.1.1.5 to 4.1.1.10)."""

from __future__ import annotations

from mailstead.smtp.session import Session


def rset(session: Session, arguments: bytes, more: bool) -> None:
    """Forget the transaction."""
    if arguments.strip():
        session.error(b"501 5.5.4 RSET takes no argument\r\n")
        return
    session.end_transaction()
    session.reply(b"250 2.0.0 Ok\r\n")


def noop(session: Session, arguments: bytes, more: bool) -> None:
    """Nothing."""
    session.reply(b"250 2.0.0 Ok\r\n")


def vrfy(session: Session, arguments: bytes, more: bool) -> None:
    """Neither confirm nor deny (RFC 5321 section 7.3)."""
    if not arguments.strip():
        session.error(b"501 5.5.4 Syntax: VRFY address\r\n")
        return
    session.reply(b"252 2.5.2 Send some mail, it will be tried\r\n")


def expn(session: Session, arguments: bytes, more: bool) -> None:
    """Members of groups are not told."""
    session.reply(b"550 5.7.2 Lists are not shown\r\n")


def help(session: Session, arguments: bytes, more: bool) -> None:
    """What there is."""
    session.reply(b"214 2.0.0 EHLO HELO MAIL RCPT DATA BDAT AUTH STARTTLS RSET NOOP VRFY HELP QUIT\r\n")


def quit(session: Session, arguments: bytes, more: bool) -> None:
    """Part."""
    session.goodbye(b"221 2.0.0 %b Bye\r\n")


def not_implemented(session: Session, arguments: bytes, more: bool) -> None:
    """Known, and not here."""
    session.error(b"502 5.5.1 Command not implemented\r\n")
