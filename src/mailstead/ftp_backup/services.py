"""What the FTP backup face is given to work with."""

from __future__ import annotations

from dataclasses import dataclass

from mailstead.directory.service import Directory
from mailstead.identity.administrators import AdministratorLogin
from mailstead.mailbox.service import Mailbox
from mailstead.settings.service import Settings
from mailstead.store.service import Store


@dataclass(slots=True)
class FtpServices:
    """The services whose verbs the tree stands for."""

    directory: Directory
    settings: Settings
    administrators: AdministratorLogin
    mailbox: Mailbox
    store: Store
