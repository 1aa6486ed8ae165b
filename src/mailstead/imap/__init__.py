"""IMAP4rev2 and IMAP4rev1 (RFC 9051, RFC 3501): the face of the mailbox service for mail clients."""
