"""What the mailbox service refuses, each with a sentence a face may show to its client."""

from __future__ import annotations


class MailboxError(Exception):
    """Base of every refusal by the mailbox service; ``str(error)`` may be shown to a client."""


class FolderMissing(MailboxError):
    """There is no such folder, or it has been deleted meanwhile (IMAP NONEXISTENT)."""


class MessageMissing(MailboxError):
    """There is no such message any more (IMAP EXPUNGEISSUED)."""


class FolderExists(MailboxError):
    """A folder of that name exists already (IMAP ALREADYEXISTS)."""


class InvalidFolderName(MailboxError):
    """The name is empty, too long, too deep or has forbidden characters (IMAP CANNOT)."""


class NotPermitted(MailboxError):
    """The verb is not allowed on this folder, e.g. deleting INBOX (IMAP CANNOT / NOPERM)."""


class FolderHasChildren(NotPermitted):
    """Folders lie below it (IMAP HASCHILDREN)."""


class RightMissing(NotPermitted):
    """The reader has not the right to do this in another's folder (IMAP NOPERM)."""


class OverQuota(MailboxError):
    """The account's size or count quota does not allow it (IMAP OVERQUOTA, SMTP 5.2.2)."""


class LimitReached(MailboxError):
    """A limit other than the quota, such as keywords of a folder (IMAP LIMIT)."""


class StoreUnavailable(MailboxError):
    """Our own fault (disk full, failed sync): nothing was changed, the client may try again later."""
