"""What the tree is given to work with."""

from __future__ import annotations

from typing import Protocol

from mailstead.directory.service import Directory
from mailstead.mailbox.service import Mailbox
from mailstead.store.service import Store


class TreeServices(Protocol):
    """The services whose objects and messages the tree shows; those of a face have them among others."""

    @property
    def directory(self) -> Directory: ...
    @property
    def mailbox(self) -> Mailbox: ...
    @property
    def store(self) -> Store: ...
