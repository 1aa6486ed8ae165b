"""The FTP backup service (BKP-01): domains, accounts, folders, messages as a tree of files; download is backup, upload restore."""
