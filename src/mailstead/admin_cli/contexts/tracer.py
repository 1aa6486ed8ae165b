"""TRACER: what would be written down about single clients, and what a list of ciphers means.

Invariants: a trace of a service that this server does not have is refused; decoding changes nothing.
"""

from __future__ import annotations

import re
import ssl
from typing import Any

from mailstead.admin_cli.context import Result, SubContext, command
from mailstead.admin_cli.grammar import CommandError
from mailstead.admin_cli.responses import table
from mailstead.admin_cli.syntax import Arguments

_SUITE = re.compile(r"(0x)?[0-9a-f]{4}\Z", re.I)
_CIPHERS = re.compile(r"[A-Za-z0-9_+:,!@=. -]{1,4096}\Z")


def _known(text: str) -> list[Any]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers(text)
    return list(context.get_ciphers())


def decode(ciphers: str, *, legacy: bool) -> list[tuple[str, str, str, str, str]]:
    """(number, name, protocol, key bits, description) of the suites that a cipher list in OpenSSL's language means, or
    numbers of the registry (`0xC02F`). `legacy`: with those that OpenSSL counts as too weak. Raises CommandError."""
    if not _CIPHERS.match(ciphers):
        raise CommandError("a list of ciphers has letters, digits and : + - ! @ = _ only")
    words = [word for word in re.split(r"[:,\s]+", ciphers) if word]
    everything = "ALL:COMPLEMENTOFALL:@SECLEVEL=0"
    try:
        if words and all(_SUITE.match(word) for word in words):
            by_number = {int(one["id"]) & 0xFFFF: one for one in _known(everything)}
            found = [by_number.get(int(word, 16)) for word in words]
            missing = [word for word, one in zip(words, found, strict=True) if one is None]
            if missing:
                raise CommandError(f"this system's OpenSSL does not know the suite {missing[0]}")
            chosen = [one for one in found if one is not None]
        else:
            chosen = _known(f"{ciphers}:@SECLEVEL=0" if legacy else ciphers)
    except ssl.SSLError as error:
        raise CommandError(f"{ciphers[:80]} names no cipher that this system's OpenSSL knows") from error
    return [
        (
            f"0x{int(one['id']) & 0xFFFF:04X}", one["name"], one["protocol"], str(one["strength_bits"]),
            re.sub(r"\s+", " ", one["description"].partition(one["protocol"])[2]).strip(),
        )
        for one in chosen
    ]  # fmt: skip


class TracerContext(SubContext):
    """`<tracer#>`."""

    name = "tracer"
    title = "TRACER"

    @command("DECODE CIPHERSUITE <ciphers> [legacy]", "shows which TLS cipher suites a list means")
    def decode_suite(self, arguments: Arguments) -> Result:
        """DECODE CIPHERSUITE."""
        rows = decode(arguments["ciphers"], legacy="legacy" in arguments.flags)
        return table("The list of cipher suites:", ("number", "name", "protocol", "bits", "algorithms"), rows)

    @command("ENABLE WEBDAV TRACE FOR USER <user> INTO <file>", "would write down what a WebDAV client says")
    @command("ENABLE HTTPC TRACE FOR <label> INTO <file> [MODE <mode>]", "would write down what the server's HTTP client says")
    @command("ENABLE CALENDAR AUDIT FOR USER <regex> INTO <target> [<file>]", "would write down changes of calendars")
    def enable(self, arguments: Arguments) -> Result:
        """Services that are not there."""
        raise CommandError("this server does not have that service; the level of the protocol (16) in a service's logLevel shows "
                           "what clients of the others say")  # fmt: skip

    @command("DISABLE WEBDAV TRACE", "nothing is traced")
    @command("DISABLE HTTPC TRACE", "nothing is traced")
    @command("DISABLE CALENDAR AUDIT", "nothing is traced")
    def disable(self, arguments: Arguments) -> Result:
        """Nothing to end."""
        return None
