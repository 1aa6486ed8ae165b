"""CAPABILITY, NOOP and LOGOUT (RFC 5804 sections 1.7, 2.4, 2.13, 2.3)."""

from __future__ import annotations

from mailstead import __version__
from mailstead.identity.sasl import mechanisms
from mailstead.managesieve.grammar import BadCommand, string
from mailstead.managesieve.session import Session, reply
from mailstead.sieve.evaluate import MAX_REDIRECTS
from mailstead.sieve.language import EXTENSIONS


def offered(session: Session) -> list[str]:
    """SASL mechanisms on offer."""
    tls = session.link.tls
    recoverable = bool(session.services.settings.service("server").recoverableSecrets)
    return mechanisms(session.options, tls is not None, tls.channel_binding if tls else None, recoverable=recoverable)


def capabilities(session: Session) -> bytes:
    """The capability lines as they hold for this session now."""
    rows = [("IMPLEMENTATION", f"Mailstead {__version__}"), ("SASL", " ".join(offered(session)) if session.account is None else "")]
    rows.append(("SIEVE", " ".join(EXTENSIONS)))
    if session.account is None and session.link.tls is None and tls_available(session):
        rows.append(("STARTTLS", ""))
    rows += [("MAXREDIRECTS", str(MAX_REDIRECTS)), ("VERSION", "1.0"), ("UNAUTHENTICATE", ""), ("LANGUAGE", "en")]
    if session.account is not None:
        rows.append(("OWNER", session.account.address))
    bare = ("STARTTLS", "UNAUTHENTICATE")
    return b"".join(
        string(name.encode()) + (b"" if name in bare else b" " + string(value.encode())) + b"\r\n" for name, value in rows
    )


def tls_available(session: Session) -> bool:
    """Whether STARTTLS can be had."""
    return session.link.endpoint.ssl_context is not None and bool(session.options.allowStartTLS)


def capability(session: Session, arguments: list[bytes | int]) -> bytes:
    """List what the server can do in this state."""
    if arguments:
        raise BadCommand("CAPABILITY takes no arguments")
    return capabilities(session) + reply(b"OK", "Capabilities listed")


def noop(session: Session, arguments: list[bytes | int]) -> bytes:
    """Nothing, with the client's own word for it."""
    if not arguments:
        return reply(b"OK", "Done")
    if len(arguments) > 1 or not isinstance(arguments[0], bytes):
        raise BadCommand("NOOP takes one string")
    return b"OK (TAG %b) %b\r\n" % (string(arguments[0]), string(b"Done"))


def logout(session: Session, arguments: list[bytes | int]) -> bytes:
    """End the session."""
    session.emit(reply(b"OK", "Goodbye"))
    session.quitting = True
    session.flush()
    session.link.close()
    return b""
