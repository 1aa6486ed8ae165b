"""Branding elements (DOM-07): pictures, in base64 on the wire.

Invariants: a picture is at most 1 MB of PNG, JPEG, GIF, ICO or SVG; it waits for COMMIT.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

from mailstead.admin_cli.context import Command, Result, make
from mailstead.admin_cli.grammar import CommandError
from mailstead.admin_cli.responses import Reply
from mailstead.admin_cli.syntax import Arguments
from mailstead.settings.edits import Place, read_content

ELEMENTS = (
    "faviconPhoto", "faviconNPhoto", "ajaxPublicPhoto", "ajaxPrivatePhoto", "standardPublicPhoto", "standardPrivatePhoto",
    "mobilePublicPhoto", "mobilePrivatePhoto",
)  # fmt: skip
SERVER_ELEMENTS = (*ELEMENTS, "webadminFaviconPhoto", "webadminPublicPhoto", "webadminPrivatePhoto")
MAX_OCTETS = 1 << 20
_SIGNS = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"\x00\x00\x01\x00", b"<svg", b"<?xml")


def branding_commands(*, server: bool) -> list[Command]:
    """SHOW and ESET BrandingElement."""
    names = SERVER_ELEMENTS if server else ELEMENTS
    return [
        make("SHOW BrandingElement <element>", f"shows a picture in base64: {', '.join(names)} or *", _show(names)),
        make("ESET BrandingElement <element>", "sets the picture that follows in base64; nothing removes it", _set(names)),
    ]


def _place(context: Any) -> Place:
    if context.domain_id:
        return Place("domainConfig", context.domain_id, "branding.", context.domain_id)
    return Place("service", 0, "branding.")


def _element(names: tuple[str, ...], text: str) -> str:
    for name in names:
        if name.lower() == text.lower():
            return name
    raise CommandError(f"there is no branding element {text[:80]!r}; there are {', '.join(names)}")


def _show(names: tuple[str, ...]) -> Any:
    def handler(context: Any, arguments: Arguments) -> Result:
        wanted = names if arguments["element"] == "*" else (_element(names, arguments["element"]),)
        database = context.session.services.directory.database
        place = _place(context)
        lines = [""]
        for name in wanted:
            waiting = context.pending.contents.get((place, f"branding.{name}"))
            text = waiting.text if waiting is not None else read_content(database, place, f"branding.{name}")
            lines.append(f"{name} = {text or ''}")
        return Reply([*lines, ""])

    return handler


def _set(names: tuple[str, ...]) -> Any:
    def handler(context: Any, arguments: Arguments) -> Result:
        wanted = names if arguments["element"] == "*" else (_element(names, arguments["element"]),)
        permission = "manageDomainConfig" if context.domain_id else "manageServerConfig"
        context.session.actor.require(permission, context.domain_id)

        async def take(text: str) -> Reply | None:
            packed = "".join(text.split())
            if packed:
                try:
                    octets = base64.b64decode(packed, validate=True)
                except binascii.Error as error:
                    raise CommandError("the picture is not base64") from error
                if len(octets) > MAX_OCTETS or not octets.lstrip().startswith(_SIGNS):
                    raise CommandError("a picture is at most 1 MB of PNG, JPEG, GIF, ICO or SVG")
            context.begin()
            for name in wanted:
                context.pending.set_content(_place(context), f"branding.{name}", packed or None, permission)
            return None

        context.session.take_text(take)
        return None

    return handler
