"""Names of messages that were restored through a mount: a file that was written has the name it was written under.

Invariants: of a restored message a mount shows one name, that of the file, not the one that its new UID would give: else a file
written next, whose name begins with that UID, would seem to be there already. What is known is bounded; the oldest is forgotten,
and has the name of its UID from then on.
"""

from __future__ import annotations

MOST = 200_000


class WrittenNames:
    """Of one mount; a folder is known by its id, a message in it by its UID."""

    def __init__(self) -> None:
        self._names: dict[tuple[int, int], str] = {}
        self._uids: dict[tuple[int, str], int] = {}

    def add(self, folder: int, uid: int, name: str) -> None:
        """A file was written, and became a message."""
        old = self._uids.pop((folder, name), 0)
        if old:
            del self._names[folder, old]
        self._names[folder, uid] = name
        self._uids[folder, name] = uid
        if len(self._names) > MOST:
            (first, number), gone = next(iter(self._names.items()))
            del self._names[first, number], self._uids[first, gone]

    def name(self, folder: int, uid: int) -> str:
        """The name a message was written under, "" where none is known."""
        return self._names.get((folder, uid), "")

    def uid(self, folder: int, name: str) -> int:
        """The UID of what was written under a name, 0 where none is known."""
        return self._uids.get((folder, name), 0)
