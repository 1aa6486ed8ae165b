"""Logging as the settings say, in every process, live (LIS-13, LOG-01 to LOG-04).

Invariants: a changed level, rule or destination holds in every process with its next look at the settings; what cannot be used is
said and left out; a level that nobody has set is that of the command line.
"""

from __future__ import annotations

import atexit
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mailstead.observe import log as observed
from mailstead.observe.log import ModuleLog, get_logger
from mailstead.observe.log_rules import FileOptions, Rule, Rules
from mailstead.observe.log_writer import LogWriter, WriterOptions
from mailstead.settings import Settings, SettingsChange
from mailstead.settings.declarations import OBJECT_KINDS

log = get_logger("LOG")

#: Contexts and the modules whose lines they are for.
CONTEXTS: Mapping[str, tuple[str, ...]] = {
    "smtpIncoming": ("SMTP-IN",), "smtpOutgoing": ("SMTP-OUT",), "imap": ("IMAP",), "pop3": ("POP3",),
    "managesieve": ("MANAGESIEVE",), "webmail": ("WEBMAIL",),
    "webadmin": ("WEBADMIN",), "dnr": ("DNR",), "rpop": ("RPOP",), "cli": ("CLI",),
    "processing": ("PROCESSING",), "log": ("LOG",), "reporting": ("REPORTING",), "ftpBackup": ("FTP-BACKUP",),
    "pop3Proxy": ("PROXY_POP3",), "imapProxy": ("PROXY_IMAP",), "webmailProxy": ("PROXY_WEBMAIL",), "userDb": ("USERDB",),
    "filters": ("FILTERS",), "callog": ("CALLOG",), "security": ("SECURITY",), "joblog": ("JOBLOG", "MIGRATION"),
    "mailboxApi": ("MAILBOXAPI",), "srvlog": ("SERVER", "SRVLOG"),
}  # fmt: skip
RULE = OBJECT_KINDS["logRule"]


def file_options(values: Any) -> FileOptions:
    """How a file is rotated, as a rule or the context `log` says."""
    return FileOptions((values.fileSize << 10) or 2 << 30, values.fileTime, values.fileCount, values.rotatePeriod)


class LogSettings:
    """One per process, from when the settings are open to the very end."""

    def __init__(self, data_dir: Path, settings: Settings, host: str = "") -> None:
        self._settings = settings
        self._directory = (data_dir / str(settings.service("log").path or "logs"))
        self.writer = LogWriter(self._directory, host or str(settings.service("server").serverName) or socket.gethostname())
        self._told: tuple[str, ...] = ()
        atexit.register(self.close)
        self.apply()
        settings.subscribe(self._changed)

    def _changed(self, change: SettingsChange) -> None:
        if change.context in ("*", "server", "logRule", *CONTEXTS):
            self.apply()

    def apply(self) -> None:
        """Take the settings as they are now."""
        settings = self._settings
        explicit = settings.explicit("service", 0)
        modules: dict[str, ModuleLog] = {}
        for context, names in CONTEXTS.items():
            values: Any = settings.peek(context)
            level = int(values.logLevel) if f"{context}.logLevel" in explicit else None
            where = ModuleLog(level, str(values.logType), str(values.logHost))
            modules.update(dict.fromkeys(names, where))
        values = settings.peek("log")
        rules = Rules(self._rules())
        if rules.unusable and rules.unusable != self._told:
            log.error("names of log files cannot be used", files=list(rules.unusable))
        self._told = rules.unusable
        self.writer.options = WriterOptions(
            "log" in settings.peek("server").services, rules, bool(values.enableLogDeduplication), file_options(values),
            modules["SECURITY"],
        )  # fmt: skip
        observed.follow(modules, modules["SERVER"], security=bool(values.enableSecurityLog), writer=self.writer)

    def _rules(self) -> list[Rule]:
        found = []
        for one in self._settings.objects.all(RULE, "service"):
            values: Any = one.values
            found.append(
                Rule(
                    values.priority, values.hostname, values.module, values.logLevel, values.fileName, file_options(values),
                    values.type == "remote",
                )
            )  # fmt: skip
        return found

    def reopen(self) -> None:
        """Open files anew."""
        self.writer.reopen()

    def close(self) -> None:
        """Write what waits; from here on lines go to the stream, by the calling thread."""
        observed.follow({}, ModuleLog())
        self.writer.close()
        atexit.unregister(self.close)
