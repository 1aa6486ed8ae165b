"""Permissions and groups of administrators as a file has them: made last, once everything they name is there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from mailstead.directory.configuration.schema import Node
from mailstead.directory.service import Directory
from mailstead.settings.actor import Actor
from mailstead.settings.declaration import Kind, Setting

_WORDS = Setting("words", Kind.LIST, (), "")


class RightsChange(NamedTuple):
    """A list of words of `holder` that changes: `groups`, or `grant` or `deny` of the permissions `node`; `line` of the file."""

    line: int
    holder: Node
    node: Node
    name: str
    old: str | None
    new: str | None


@dataclass(slots=True)
class Rights:
    """What waits. `gone`: domains that were removed, whose permissions went with them."""

    directory: Directory
    actor: Actor
    waiting: list[RightsChange] = field(default_factory=list)
    gone: set[str] = field(default_factory=set)

    def wait(self, line: int, holder: Node, node: Node, name: str, old: str | None, new: str | None) -> None:
        """Let a change wait; `line` where the file has none of its own."""
        self.waiting.append(RightsChange(node.lines.get(name, line), holder, node, name, old, new))

    async def make(self, change: RightsChange) -> None:
        """Make one. Raises DirectoryError, PermissionDeniedError."""
        _line, holder, node, name, old, new = change
        if name == "groups":
            for group in word_list(old, without=new):
                await self.directory.remove_admin_member(group, holder.key[0], actor=self.actor)
            for group in word_list(new, without=old):
                await self.directory.add_admin_member(group, holder.key[0], actor=self.actor)
            return
        domain = node.key[0] or None
        if domain in self.gone:
            old = None  # they went with the domain, and come back with it
        for permission in word_list(old, without=new):
            await self.directory.revoke(holder.key[0], permission, domain, actor=self.actor)
        verb = self.directory.grant if name == "grant" else self.directory.deny
        for permission in word_list(new, without=old):
            await verb(holder.key[0], permission, domain, actor=self.actor)


def word_list(text: str | None, *, without: str | None = None) -> list[str]:
    """The words of a list as it is written, but for those of another."""
    words = _WORDS.parse(text) if text else ()
    leave = frozenset(word_list(without)) if without else frozenset()
    return [word for word in (words if isinstance(words, tuple) else ()) if word not in leave]
