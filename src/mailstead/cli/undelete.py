"""`mailstead undelete`: list what was deleted and bring it back within the retention time."""

from __future__ import annotations


def kept(days: int) -> str:
    """What becomes of the mail of something deleted, in words."""
    return f"it can be restored for {days} days" if days else "the server removes its mail"
