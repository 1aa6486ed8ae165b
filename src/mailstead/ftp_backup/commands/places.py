"""Where one is, and what a path stands for (RFC 959, 3659)."""

from __future__ import annotations

from mailstead.backup_tree.paths import shown
from mailstead.backup_tree.tree import Entry, Missing, Node
from mailstead.ftp_backup.grammar import stamp
from mailstead.ftp_backup.session import Session


def pwd(session: Session, argument: str) -> str:
    """PWD."""
    quoted = shown(session.path).replace('"', '""')
    return f'257 "{quoted}" is the current directory'


async def cwd(session: Session, argument: str) -> str:
    """CWD."""
    path = session.at(argument)
    try:
        node = await session.the_tree().node(path)
        if not node.directory:
            return "550 it is a file"
    except Missing:
        if path not in session.the_uploads().made:
            raise
    session.path = path
    return "250 OK"


async def mkd(session: Session, argument: str) -> str:
    """MKD: a folder, or a directory of the tree whose document comes next."""
    path = session.at(argument)
    await session.the_uploads().make_directory(path)
    quoted = shown(path).replace('"', '""')
    return f'257 "{quoted}" made'


async def size(session: Session, argument: str) -> str:
    """SIZE (RFC 3659 section 4)."""
    node, entry = await file_at(session, argument)
    if session.ascii and node.what == "document":
        return "550 SIZE needs TYPE I"
    return f"213 {entry.size}"


async def mdtm(session: Session, argument: str) -> str:
    """MDTM (RFC 3659 section 3)."""
    _, entry = await file_at(session, argument)
    return f"213 {stamp(entry.modified)}"


async def file_at(session: Session, argument: str) -> tuple[Node, Entry]:
    """The file of an argument. Raises Missing, PermissionDeniedError."""
    tree = session.the_tree()
    node = await tree.node(session.at(argument))
    if node.directory:
        raise Missing("it is a directory")
    assert node.domain is not None
    tree.actor.require("backupDomain", node.domain.id)
    return node, await tree.entry(node)


def facts(session: Session, entry: Entry, node: Node, kind: str = "") -> str:
    """The facts of RFC 3659 section 7; ``kind`` other than dir or file."""
    tree = session.the_tree()
    restores = tree.needs(node, "restoreDomain") or node.what == "root"
    perm = ("el" + ("cm" if restores else "")) if entry.directory else "r" + ("w" if restores else "")
    found = [f"type={kind or ('dir' if entry.directory else 'file')}"]
    if not entry.directory:
        found.append(f"size={entry.size}")
    found += [f"modify={stamp(entry.modified)}", f"perm={perm}"]
    if entry.unique:
        found.append(f"unique={entry.unique}")
    return ";".join(found) + ";"


async def mlst(session: Session, argument: str) -> str:
    """MLST."""
    path = session.at(argument)
    tree = session.the_tree()
    node = await tree.node(path)
    if not node.directory:
        await file_at(session, argument)
    entry = await tree.entry(node)
    return f"250-facts:\n {facts(session, entry, node)} {shown(path)}\n250 end"


async def stat(session: Session, argument: str) -> str:
    """STAT: of the session; of a path what MLST says."""
    if argument:
        return (await mlst(session, argument)).replace("250-facts:", "213-status:").replace("250 end", "213 end")
    who = session.actor.name if session.actor is not None else "nobody"
    running = "a transfer is running" if session.transfer is not None else "no transfer"
    return f"211-Mailstead backup service\n logged in: {who}\n {running}\n211 end"


def refused(session: Session, argument: str) -> str:
    """DELE, RMD, RNFR: the tree is for backup and restore, not for removing."""
    return "550 nothing is removed or renamed over this service"
