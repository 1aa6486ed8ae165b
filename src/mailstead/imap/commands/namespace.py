"""NAMESPACE (RFC 9051 section 6.3.10, RFC 2342; feature IMP-09)."""

from __future__ import annotations

from mailstead.imap.grammar import Arguments
from mailstead.imap.session import Session
from mailstead.mailbox.base import OTHER_USERS, PUBLIC_FOLDERS


def namespace(session: Session, arguments: Arguments) -> bytes:
    """The personal namespace has no prefix; folders of others and of the domain lie below theirs."""
    arguments.end()
    others, shared = session.services.mailbox.namespaces(session.account_id)
    words = [b'(("" "/"))']
    for there, name in ((others, OTHER_USERS), (shared, PUBLIC_FOLDERS)):
        words.append(b'((%b "/"))' % session.mailbox_text(name + "/") if there else b"NIL")
    session.untagged(b"NAMESPACE " + b" ".join(words))
    return b"OK NAMESPACE completed"
