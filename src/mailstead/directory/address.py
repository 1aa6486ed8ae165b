"""Addresses as the directory compares them.

Invariants:
- Local parts of local domains compare without case, in NFC; a quoted local part equals its unquoted content.
- Domains compare as lower-case A-labels, so U-label and A-label are one.
- Nothing here raises on any text; what cannot be an address gives None.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

import idna

from mailstead.directory.model import InvalidNameError

MAX_LOCAL_OCTETS = 64
MAX_DOMAIN = 253
MAX_ADDRESS = 320

_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)
_ATOM = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*", re.ASCII)


@lru_cache(4096)
def domain_key(domain: str) -> str | None:
    """Lower-case A-label form of a domain, or None for what is no domain name (address literals too)."""
    text = domain.strip()
    if text.endswith("."):
        text = text[:-1]
    if not text or len(text) > MAX_DOMAIN:
        return None
    if not text.isascii():
        try:
            text = idna.encode(text, uts46=True).decode()
        except (idna.IDNAError, UnicodeError):
            return None
    text = text.lower()
    if len(text) > MAX_DOMAIN or not all(_LABEL.fullmatch(label) for label in text.split(".")):
        return None
    return text


def split_address(address: str) -> tuple[str, str] | None:
    """Local part (as compared) and domain as written; None when there is no both."""
    if len(address) > MAX_ADDRESS:
        return None
    local, at, domain = address.rpartition("@")
    if not at or not local or not domain:
        return None
    return local, domain


def local_key(local: str) -> str:
    """The form local parts are compared in."""
    if len(local) > 1 and local[0] == local[-1] == '"':
        local = _unquote(local)
    if local.isascii():
        return local.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", local).lower())


def address_key(address: str) -> str | None:
    """The form whole addresses are compared in, without regard to case; None for what is none."""
    parts = split_address(address)
    domain = domain_key(parts[1]) if parts is not None else None
    return None if parts is None or domain is None else f"{local_key(parts[0])}@{domain}"


def _unquote(local: str) -> str:
    result, escaped = [], False
    for character in local[1:-1]:
        if not escaped and character == "\\":
            escaped = True
            continue
        result.append(character)
        escaped = False
    return "".join(result)


def join_address(local: str, domain: str) -> str:
    """An address of a stored local part; quoted where RFC 5321 asks for it."""
    if not local.isascii() or _ATOM.fullmatch(local):
        return f"{local}@{domain}"
    escaped = local.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"@{domain}'


def checked_local(name: str) -> str:
    """A name fit for a new account, alias or group. Raises InvalidNameError."""
    text = unicodedata.normalize("NFC", name.strip())
    octets = text.encode("utf-8", "surrogatepass")
    if not text or len(octets) > MAX_LOCAL_OCTETS:
        raise InvalidNameError(f"a name has 1 to {MAX_LOCAL_OCTETS} octets: {name[:80]!r}")
    for part in text.split("."):
        if not part:
            raise InvalidNameError(f"a dot may only stand between other characters: {name!r}")
        for character in part:
            if character.isascii():
                if not _ATOM.fullmatch(character):
                    raise InvalidNameError(f"the character {character!r} is not allowed in a name: {name!r}")
            elif unicodedata.category(character)[0] in "CZ":
                raise InvalidNameError(f"control characters and spaces are not allowed in a name: {name!r}")
    return text


def checked_domain(name: str) -> tuple[str, str]:
    """Display form and key of a new domain. Raises InvalidNameError."""
    key = domain_key(name)
    if key is None:
        raise InvalidNameError(f"{name[:80]!r} is not a domain name")
    if re.fullmatch(r"[0-9.]+", key, re.ASCII):
        raise InvalidNameError(f"{name[:80]!r} is an address, not a domain name")
    display = name.strip().rstrip(".").lower()
    return display, key
