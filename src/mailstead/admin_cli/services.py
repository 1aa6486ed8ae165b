"""What the administration face is given to work with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mailstead.directory.service import Directory
from mailstead.identity.administrators import AdministratorLogin
from mailstead.mailbox.service import Mailbox
from mailstead.settings.service import Settings
from mailstead.store.service import Store


@dataclass(slots=True)
class AdminServices:
    """The services whose verbs the contexts speak for."""

    directory: Directory
    settings: Settings
    administrators: AdministratorLogin
    mailbox: Mailbox
    store: Store
    data_dir: Path
