"""One file per command; here the table of them."""

from __future__ import annotations

from collections.abc import Callable

from mailstead.smtp.session import Session

#: Called with the session, what follows the verb, and whether more octets came in the same breath.
Command = Callable[[Session, bytes, bool], None]


def table() -> dict[bytes, Command]:
    """Verb to function."""
    from mailstead.smtp.commands import auth, bdat, data, ehlo, mail, rcpt, small, starttls

    return {
        b"EHLO": ehlo.ehlo,
        b"HELO": ehlo.helo,
        b"MAIL": mail.mail,
        b"RCPT": rcpt.rcpt,
        b"DATA": data.data,
        b"BDAT": bdat.bdat,
        b"AUTH": auth.auth,
        b"STARTTLS": starttls.starttls,
        b"RSET": small.rset,
        b"NOOP": small.noop,
        b"VRFY": small.vrfy,
        b"EXPN": small.expn,
        b"HELP": small.help,
        b"QUIT": small.quit,
        b"ETRN": small.not_implemented,
        b"TURN": small.not_implemented,
        b"ATRN": small.not_implemented,
        b"SEND": small.not_implemented,
        b"SOML": small.not_implemented,
        b"SAML": small.not_implemented,
    }
