"""The commands on scripts (RFC 5804 sections 2.5 to 2.12); the session answers what the mailbox service refuses."""

from __future__ import annotations

from mailstead.managesieve.grammar import BadCommand, string
from mailstead.managesieve.session import Session, reply


def _text(argument: bytes | int, what: str) -> str:
    if not isinstance(argument, bytes):
        raise BadCommand(f"Expected a string for the {what}")
    try:
        return argument.decode("utf-8")
    except UnicodeDecodeError:
        raise BadCommand(f"The {what} is not UTF-8") from None


def _strings(arguments: list[bytes | int], *names: str) -> list[str]:
    if len(arguments) != len(names):
        raise BadCommand(f"Expected {len(names)} arguments")
    return [_text(argument, name) for argument, name in zip(arguments, names, strict=True)]


async def havespace(session: Session, arguments: list[bytes | int]) -> bytes:
    """Whether a script of a size would be kept."""
    if len(arguments) != 2 or not isinstance(arguments[1], int):
        raise BadCommand("HAVESPACE takes a name and a size")
    await session.services.mailbox.check_script_space(session.account_id, _text(arguments[0], "name"), arguments[1])
    return reply(b"OK", "There is space")


async def putscript(session: Session, arguments: list[bytes | int]) -> bytes:
    """Keep a script, if it is one."""
    name, script = _strings(arguments, "name", "script")
    await session.services.mailbox.put_script(session.account_id, name, script)
    return reply(b"OK", "Script kept")


async def checkscript(session: Session, arguments: list[bytes | int]) -> bytes:
    """Say whether a script is one, without keeping it."""
    (script,) = _strings(arguments, "script")
    await session.services.mailbox.check_script(script)
    return reply(b"OK", "The script is valid")


async def listscripts(session: Session, arguments: list[bytes | int]) -> bytes:
    """Names, and which one is active."""
    _strings(arguments)
    found = await session.services.mailbox.scripts(session.account_id)
    lines = [string(name.encode()) + (b" ACTIVE" if active else b"") + b"\r\n" for name, _, active in found]
    return b"".join(lines) + reply(b"OK", "Scripts listed")


async def setactive(session: Session, arguments: list[bytes | int]) -> bytes:
    """Run mail through a script, or through none."""
    (name,) = _strings(arguments, "name")
    await session.services.mailbox.activate_script(session.account_id, name)
    return reply(b"OK", "Script activated" if name else "No script is active")


async def getscript(session: Session, arguments: list[bytes | int]) -> bytes:
    """A script's text, as a literal."""
    (name,) = _strings(arguments, "name")
    text = (await session.services.mailbox.script(session.account_id, name)).encode()
    return b"{%d}\r\n%b\r\n" % (len(text), text) + reply(b"OK", "Script sent")


async def deletescript(session: Session, arguments: list[bytes | int]) -> bytes:
    """Remove a script that is not active."""
    (name,) = _strings(arguments, "name")
    await session.services.mailbox.delete_script(session.account_id, name)
    return reply(b"OK", "Script deleted")


async def renamescript(session: Session, arguments: list[bytes | int]) -> bytes:
    """Give a script another name; an active one stays active."""
    old, new = _strings(arguments, "old name", "new name")
    await session.services.mailbox.rename_script(session.account_id, old, new)
    return reply(b"OK", "Script renamed")
