"""CREATE, with CREATE-SPECIAL-USE (RFC 9051 section 6.3.4, RFC 6154 section 3, MAILBOXID of RFC 8474)."""

from __future__ import annotations

from mailstead.imap.grammar import Arguments, BadSyntax
from mailstead.imap.responses import Refusal
from mailstead.imap.session import Session
from mailstead.mailbox.model import SEPARATOR

SPECIAL_USES = {
    name.upper(): name for name in ("\\All", "\\Archive", "\\Drafts", "\\Flagged", "\\Junk", "\\Sent", "\\Trash")
}
#: Views that the server would have to fill itself.
_VIRTUAL = ("\\All", "\\Flagged")


def _use(arguments: Arguments) -> str | None:
    if arguments.at_end():
        return None
    arguments.space()
    arguments.expect(b"(")
    if arguments.keyword() != b"USE":
        raise BadSyntax("Unknown CREATE parameter")
    arguments.space()
    uses = arguments.flags()
    arguments.expect(b")")
    if not uses:
        return None
    known = SPECIAL_USES.get(uses[0].upper())
    if len(uses) > 1 or known is None or known in _VIRTUAL:
        raise Refusal("This special use is not supported", "USEATTR")
    return known


async def create(session: Session, arguments: Arguments) -> bytes:
    """Make a mailbox."""
    arguments.space()
    name = session.folder_name(arguments.astring())
    use = _use(arguments)
    arguments.end()
    # RFC 3501 section 6.3.3: a separator at the end declares that children will follow, no more.
    mailbox = session.services.mailbox
    folder = await mailbox.create_folder(session.account_id, name.removesuffix(SEPARATOR), special_use=use)
    return b"OK [MAILBOXID (F%d)] CREATE completed" % folder.id
