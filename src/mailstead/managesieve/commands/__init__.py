"""The commands of ManageSieve, one small family a file; ``table`` joins them."""

from __future__ import annotations

from mailstead.managesieve.commands import authenticate, capability, scripts, starttls
from mailstead.managesieve.session import Handler


def table() -> dict[bytes, tuple[Handler, str]]:
    """Command to its function and the state it needs (any, fresh, authenticated)."""
    return {
        b"CAPABILITY": (capability.capability, "any"),
        b"NOOP": (capability.noop, "any"),
        b"LOGOUT": (capability.logout, "any"),
        b"STARTTLS": (starttls.starttls, "fresh"),
        b"AUTHENTICATE": (authenticate.authenticate, "fresh"),
        b"UNAUTHENTICATE": (authenticate.unauthenticate, "authenticated"),
        b"HAVESPACE": (scripts.havespace, "authenticated"),
        b"PUTSCRIPT": (scripts.putscript, "authenticated"),
        b"CHECKSCRIPT": (scripts.checkscript, "authenticated"),
        b"LISTSCRIPTS": (scripts.listscripts, "authenticated"),
        b"SETACTIVE": (scripts.setactive, "authenticated"),
        b"GETSCRIPT": (scripts.getscript, "authenticated"),
        b"DELETESCRIPT": (scripts.deletescript, "authenticated"),
        b"RENAMESCRIPT": (scripts.renamescript, "authenticated"),
    }
