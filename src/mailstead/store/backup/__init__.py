"""Backups of a data directory: a repository of content-addressed pieces, and a manifest for each backup.

``repository`` is the layout on disk, ``sealing`` the encryption, ``create``, ``verify`` and ``restore`` what is done with it,
``view`` a backup read without restoring it as a whole, ``hold`` what keeps compaction from taking away what a backup reads.
"""
