"""The tree of backups mounted into the file system of this machine (BKP-02)."""
