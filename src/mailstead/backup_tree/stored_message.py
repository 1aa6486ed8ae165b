"""A message of a folder as the tree shows it."""

from __future__ import annotations

from dataclasses import dataclass

from mailstead.mailbox.model import Location


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """``name`` is that of its file; ``date`` unix time; ``size`` octets."""

    uid: int
    name: str
    size: int
    date: int
    location: Location
    keywords: tuple[str, ...] = ()
    bits: int = 0
