"""SITE: backup labels (BKP-02)."""

from __future__ import annotations

from mailstead.ftp_backup.grammar import stamp
from mailstead.ftp_backup.session import Session

USAGE = "SITE BACKUP <label> [<domain>], SITE BACKUPS [<domain>], SITE REMOVE <label> [<domain>], SITE PURGE [<domain>]"


async def site(session: Session, argument: str) -> str:
    """Labels: name this moment, list, remove, purge; /@since-<label> has what came after it."""
    tree = session.the_tree()
    words = argument.split()
    verb = words[0].upper() if words else "HELP"
    named = len(words) == (3 if verb in ("BACKUP", "REMOVE") else 2)
    domain = words[-1] if named else ""
    match verb, len(words):
        case "BACKUP", 2 | 3:
            found = await tree.labels.add(words[1], domain, actor=tree.actor)
            return f"200 label {found.name}; next time see /@since-{found.name}"
        case "BACKUPS", 1 | 2:
            lines = [f" {stamp(one.time)} {one.name}" for one in tree.labels.labels(domain, actor=tree.actor)]
            return "\n".join(["200-labels:", *lines, "200 end"])
        case "REMOVE", 2 | 3:
            await tree.labels.remove(words[1], domain, actor=tree.actor)
            return "200 removed"
        case "PURGE", 1 | 2:
            return f"200 {await tree.labels.purge(domain, actor=tree.actor)} removed"
        case "HELP", _:
            return f"214 {USAGE}"
    return f"501 {USAGE}"
