"""The tree of files that a backup reads and a restore writes: domains, accounts, folders, messages; no protocol in it."""
