"""Which lines go to which file (LOG-02).

Invariants: rules are tried by priority, 1 first, and the first that matches takes the line; priority 1000 is for what no other
took, of this server and of others; a name of a file never leads out of the directory of the log.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

CATCH_ALL = 1000
SECURITY_FILE = "security.txt"
_NAME = re.compile(r"[\w][\w .@+-]{0,63}\Z")
#: Modules that settings and rules know by another name; modules nobody knows are the server's.
_ALIASES = {"SRVLOG": "SERVER", "MIGRATION": "JOBLOG"}
_KNOWN = frozenset({
    "SMTP-IN", "SMTP-OUT", "IMAP", "POP3", "MANAGESIEVE", "WEBMAIL", "WEBADMIN", "DNR", "RPOP", "CLI", "PROCESSING", "LOG",
    "REPORTING", "FTP-BACKUP", "PROXY_POP3", "PROXY_IMAP", "USERDB", "PROXY_WEBMAIL", "FILTERS", "CALLOG", "SECURITY", "JOBLOG",
    "SERVER", "MAILBOXAPI",
})  # fmt: skip


@lru_cache(maxsize=512)
def canonical(module: str) -> str:
    """The name that rules know a module by."""
    name = _ALIASES.get(module, module)
    return name if name in _KNOWN else "SERVER"


@dataclass(frozen=True, slots=True)
class FileOptions:
    """How a file is rotated: at `size` octets, at an age of `seconds` (0: never), by the calendar (none, day, week, month);
    `count` rotated files are kept (0: all)."""

    size: int = 2 << 30
    seconds: int = 0
    count: int = 0
    period: str = "none"


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule; `remote`: for lines of other servers."""

    priority: int
    hostname: str = "*"
    module: str = "*"
    level: int = 31
    file: str = "default.txt"
    options: FileOptions = FileOptions()
    remote: bool = False

    def matches(self, hosts: Sequence[str], module: str, level: int, remote: bool) -> bool:
        """Whether it takes a line; `hosts` are the names of where it comes from."""
        if not self.level & level or (self.remote != remote and self.priority != CATCH_ALL):
            return False
        if self.module != "*" and canonical(self.module) != canonical(module):
            return False
        pattern = self.hostname.lower()
        return pattern == "*" or any(fnmatch.fnmatchcase(host.lower(), pattern) for host in hosts)


def safe_name(name: str) -> bool:
    """Whether a file of that name lies in the directory of the log, and is not one of its own."""
    return bool(_NAME.match(name)) and Path(name).name == name and not name.startswith(".")


class Rules:
    """Rules in their order, those with unusable names left out."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        found = list(rules)
        self.rules = tuple(sorted((rule for rule in found if safe_name(rule.file)), key=lambda rule: rule.priority))
        self.unusable = tuple(rule.file for rule in found if not safe_name(rule.file))
        self._decided: dict[tuple[tuple[str, ...], str, int, bool], Rule | None] = {}

    def rule_for(self, hosts: tuple[str, ...], module: str, level: int, remote: bool) -> Rule | None:
        """The rule that takes a line; None where none does."""
        key = (hosts, module, level, remote)
        if key not in self._decided:
            if len(self._decided) > 4096:
                self._decided.clear()
            self._decided[key] = next((rule for rule in self.rules if rule.matches(hosts, module, level, remote)), None)
        return self._decided[key]

    def options_of(self, file: str) -> FileOptions:
        """How a file is rotated: as its first rule says."""
        return next((rule.options for rule in self.rules if rule.file == file), FileOptions())
