"""What part of the tree a mount shows.

Invariants: a scope is a path of the tree; what it does not name is not in the mount.
"""

from __future__ import annotations

from dataclasses import dataclass

from mailstead.backup_tree.paths import level_file, object_file
from mailstead.backup_tree.tree import DOCUMENTS, KINDS, PUBLIC
from mailstead.directory.address import join_address
from mailstead.directory.service import Directory


class BadScope(Exception):
    """It names nothing, or does not fit together; the text is for the administrator."""


@dataclass(frozen=True, slots=True)
class Scope:
    """``domain`` "" for all that the administrator sees; ``public``: its public folders; ``object``: an account, list, group or
    folder recipient by name; ``folder``: below one of both."""

    domain: str = ""
    public: bool = False
    object: str = ""
    folder: str = ""

    def __str__(self) -> str:
        parts = [f"domain {self.domain}" if self.domain else "all domains"]
        parts += ["publicFolder"] if self.public else []
        parts += [f"object {self.object}"] if self.object else []
        parts += [f"folder {self.folder}"] if self.folder else []
        return " ".join(parts)

    def path(self, directory: Directory, *, utf8: bool) -> tuple[str, ...]:
        """The path of the tree that is the root of the mount. Raises BadScope."""
        if not self.domain:
            if self.public or self.object or self.folder:
                raise BadScope("publicFolder and object are of a domain: name it")
            return ()
        if self.public and self.object:
            raise BadScope("either publicFolder or object")
        levels = tuple(level_file(level, utf8) for level in self.folder.strip("/").split("/") if level)
        if self.public:
            return (self.domain, PUBLIC, *levels)
        if not self.object:
            if self.folder:
                raise BadScope("a folder is of an object or of publicFolder")
            return (self.domain,)
        kind = self._kind(directory)
        if kind not in ("accounts", "lists") and levels:
            raise BadScope(f"{self.object} has no folders")
        return (self.domain, kind, object_file(self.object), *(("folders", *levels) if levels else ()))

    def _kind(self, directory: Directory) -> str:
        domain = directory.domain_by_name(self.domain)
        if domain is not None:
            account = directory.account_by_address(join_address(self.object, domain.name))
            if account is not None and account.domain_id == domain.id and account.name == self.object:
                return "accounts"
            for kind in DOCUMENTS:
                if kind in KINDS and any(one.name == self.object for one in directory.recipients(domain.id, KINDS[kind])):
                    return kind
        raise BadScope(f"there is no account, list, group or folder recipient {self.object[:80]}")
