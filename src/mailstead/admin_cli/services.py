"""What the administration face is given to work with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from mailstead.directory.service import Directory
from mailstead.identity.administrators import AdministratorLogin
from mailstead.mailbox.service import Mailbox
from mailstead.settings.service import Settings
from mailstead.store.service import Store


class Background(Protocol):
    """Verbs of the node's background process: queue, compaction, look-ups (see process.background)."""

    async def call(self, verb: str, **arguments: Any) -> Any:
        """The verb's result; an exception whose text is for the administrator otherwise."""


@dataclass(slots=True)
class AdminServices:
    """The services whose verbs the contexts speak for."""

    directory: Directory
    settings: Settings
    administrators: AdministratorLogin
    mailbox: Mailbox
    store: Store
    data_dir: Path
    background: Background
    refusals: tuple[type[Exception], ...] = ()
    """What `background` raises with words for the administrator."""
