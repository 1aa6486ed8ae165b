"""Mail of other servers comes in: copied from IMAP servers (MIG-01, MIG-02), read from Maildir and mbox."""
