"""GETACL, SETACL, DELETEACL, LISTRIGHTS, MYRIGHTS (RFC 4314).

Invariants: identifiers are UTF-8 words that the directory understands; all rules are the mailbox service's.
"""

from __future__ import annotations

from mailstead.imap.grammar import Arguments, BadSyntax
from mailstead.imap.responses import astring
from mailstead.imap.session import Session
from mailstead.mailbox.rights import UnknownRight

_MODES = {b"+": "add", b"-": "remove"}


def _mailbox(session: Session, arguments: Arguments) -> tuple[str, bytes]:
    """A mailbox name, and how to say it to the client."""
    arguments.space()
    octets = arguments.astring()
    name = session.folder_name(octets)
    return name, session.mailbox_text(name)


def _identifier(arguments: Arguments) -> str:
    arguments.space()
    try:
        return arguments.astring().decode("utf-8")
    except UnicodeDecodeError:
        raise BadSyntax("The identifier is not UTF-8") from None


async def getacl(session: Session, arguments: Arguments) -> bytes:
    """Who has which rights in a mailbox."""
    name, text = _mailbox(session, arguments)
    arguments.end()
    entries = await session.services.mailbox.acl(session.account_id, name)
    words = b"".join(b" %b %b" % (astring(who.encode()), rights.encode("ascii")) for who, rights in entries)
    session.untagged(b"ACL " + text + words)
    return b"OK GETACL completed"


async def setacl(session: Session, arguments: Arguments) -> bytes:
    """Give or take rights."""
    name, _ = _mailbox(session, arguments)
    who = _identifier(arguments)
    arguments.space()
    letters = arguments.astring()
    arguments.end()
    mode = _MODES.get(letters[:1], "set")
    try:
        wanted = (letters if mode == "set" else letters[1:]).decode("ascii")
        await session.services.mailbox.set_acl(session.account_id, name, who, mode, wanted)
    except (UnknownRight, UnicodeDecodeError):
        raise BadSyntax("Unknown right") from None
    return b"OK SETACL completed"


async def deleteacl(session: Session, arguments: Arguments) -> bytes:
    """Take all rights from somebody."""
    name, _ = _mailbox(session, arguments)
    who = _identifier(arguments)
    arguments.end()
    await session.services.mailbox.delete_acl(session.account_id, name, who)
    return b"OK DELETEACL completed"


async def listrights(session: Session, arguments: Arguments) -> bytes:
    """Which rights can be given to somebody."""
    name, text = _mailbox(session, arguments)
    who = _identifier(arguments)
    arguments.end()
    always, others = await session.services.mailbox.possible_rights(session.account_id, name, who)
    words = [always.encode("ascii") or b'""', *(one.encode("ascii") for one in others)]
    session.untagged(b"LISTRIGHTS %b %b %b" % (text, astring(who.encode()), b" ".join(words)))
    return b"OK LISTRIGHTS completed"


async def myrights(session: Session, arguments: Arguments) -> bytes:
    """What the user may do with a mailbox."""
    name, text = _mailbox(session, arguments)
    arguments.end()
    rights = await session.services.mailbox.my_rights(session.account_id, name)
    session.untagged(b"MYRIGHTS %b %b" % (text, rights.encode("ascii")))
    return b"OK MYRIGHTS completed"
