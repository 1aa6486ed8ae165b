"""CAPABILITY (RFC 9051 section 6.1.1)."""

from __future__ import annotations

from mailstead.imap.commands.authenticate import login_allowed, mechanisms
from mailstead.imap.grammar import Arguments
from mailstead.imap.literals import append_limit
from mailstead.imap.progress import MESSAGE_LIMIT
from mailstead.imap.session import Session

_ALWAYS = "IMAP4rev1 IMAP4rev2 LITERAL+ SASL-IR ENABLE ID"
_AUTHENTICATED = (
    "IMAP4rev1",
    "IMAP4rev2",
    "LITERAL+",
    "ENABLE",
    "ID",
    "IDLE",
    "NAMESPACE",
    "CHILDREN",
    "UIDPLUS",
    "UNSELECT",
    "MOVE",
    "SPECIAL-USE",
    "CREATE-SPECIAL-USE",
    "LIST-EXTENDED",
    "LIST-STATUS",
    "STATUS=SIZE",
    "ESEARCH",
    "SEARCHRES",
    "WITHIN",
    "SORT",
    "SORT=DISPLAY",
    "THREAD=ORDEREDSUBJECT",
    "THREAD=REFERENCES",
    "THREAD=REFS",
    "MULTISEARCH",
    "UIDONLY",
    "LANGUAGE",
    "INPROGRESS",
    f"MESSAGELIMIT={MESSAGE_LIMIT}",
    "ESORT",
    "CONTEXT=SEARCH",
    "CONTEXT=SORT",
    "SEARCH=FUZZY",
    "FILTERS",
    "I18NLEVEL=1",
    "CONDSTORE",
    "QRESYNC",
    "BINARY",
    "OBJECTID",
    "SAVEDATE",
    "PREVIEW",
    "PARTIAL",
    "MULTIAPPEND",
    "NOTIFY",
    "CATENATE",
    "REPLACE",
    "URLAUTH",
    "URL-PARTIAL",
    "URLAUTH=BINARY",
    "UTF8=ACCEPT",
    "UNAUTHENTICATE",
    "ACL",
    "RIGHTS=kxte",
    "LIST-MYRIGHTS",
    "METADATA",
    "LIST-METADATA",
    "QUOTA",
    "QUOTA=RES-STORAGE",
    "QUOTA=RES-MESSAGE",
    "QUOTA=RES-MAILBOX",
)


def capabilities(session: Session) -> bytes:
    """The list as it is for this session now."""
    if session.account is not None:
        text = " ".join(_AUTHENTICATED)
        if session.options.allowCompress and not session.compressed:
            text += " COMPRESS=DEFLATE"
        return f"{text} APPENDLIMIT={append_limit(session)}".encode("ascii")
    words = [_ALWAYS]
    if session.link.tls is None and session.options.allowStartTLS and session.link.endpoint.ssl_context is not None:
        words.append("STARTTLS")
    words += [f"AUTH={name}" for name in mechanisms(session)]
    if not login_allowed(session):
        words.append("LOGINDISABLED")
    return " ".join(words).encode("ascii")


def capability(session: Session, arguments: Arguments) -> bytes:
    """List what the server can do in this state."""
    arguments.end()
    session.untagged(b"CAPABILITY " + capabilities(session))
    return b"OK CAPABILITY completed"
