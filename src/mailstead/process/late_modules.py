"""What the processes of a node load only when a face is made or a command first comes, loaded beforehand.

Invariants: nothing is run, opened or started. A process that is forked afterwards loads none of it by itself: it shares the pages,
starts at once, and has the release that runs, whatever lies on the disk by then.
"""

from __future__ import annotations

import importlib
import pkgutil

#: Packages whose modules a table imports late, because they lead back to it; the faces come first.
PACKAGES = (
    "mailstead.smtp.commands", "mailstead.imap.commands", "mailstead.pop3.commands", "mailstead.managesieve.commands",
    "mailstead.ftp_backup.commands", "mailstead.admin_cli.contexts",
)  # fmt: skip


def load() -> None:
    """Load them all."""
    importlib.import_module("mailstead.admin_cli.server")
    for name in PACKAGES:
        for module in pkgutil.iter_modules(importlib.import_module(name).__path__, f"{name}."):
            importlib.import_module(module.name)
