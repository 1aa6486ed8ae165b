"""CAPA (RFC 2449), what it lists, and UTF8 and LANG (RFC 6856)."""

from __future__ import annotations

from mailstead.pop3.commands.login import login_allowed, offered
from mailstead.pop3.session import Session


def capa(session: Session, argument: bytes) -> bytes:
    """Capabilities as they hold on this connection now."""
    options = session.options
    lines = ["+OK capabilities follow", "TOP", "UIDL", "PIPELINING", "RESP-CODES", "AUTH-RESP-CODE", "UTF8 USER", "LANG"]
    if session.maildrop is None:
        if login_allowed(session):
            lines.append("USER")
        mechanisms = offered(session)
        if mechanisms:
            lines.append("SASL " + " ".join(mechanisms))
        if session.link.tls is None and session.link.endpoint.ssl_context is not None and options.allowStartTLS:
            lines.append("STLS")
    lines.append(f"EXPIRE {options.expireDays or 'NEVER'}")
    lines += [f"LOGIN-DELAY {options.loginDelay}", "IMPLEMENTATION Mailstead", "."]
    return "\r\n".join(lines).encode() + b"\r\n"


def utf8(session: Session, argument: bytes) -> bytes:
    """Nothing changes: messages are always given as they are, and names may be UTF-8."""
    return b"+OK UTF8 enabled\r\n"


def lang(session: Session, argument: bytes) -> bytes:
    """RFC 6856 section 3: replies are in English; "*" asks for what the server likes best."""
    wanted = argument.strip().lower()
    if not wanted:
        return b"+OK Language listing follows:\r\nen English\r\ni-default English\r\n.\r\n"
    if wanted in (b"*", b"en", b"i-default") or wanted.startswith(b"en-"):
        return b"+OK %b Language changed\r\n" % (b"i-default" if wanted == b"i-default" else b"en")
    return b"-ERR this language is not available\r\n"
