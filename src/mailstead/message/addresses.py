"""Address lists of header fields (RFC 5322 section 3.4 and 4.4) and strict single addresses.

Invariants
- `parse_addresses` never raises, takes linear time and gives at most `limit` entries.
- Its values are octets as written, quotes and comments removed, encoded words
  kept: an ENVELOPE shows them so.
- A group opens with an entry of host None and the group's name as mailbox, and
  closes with one whose mailbox is None (RFC 3501 section 7.4.2). Every other
  entry has a mailbox and a host, which may be empty where the sender left it out.
- `split_address` is for addresses that mail is sent to: it refuses what it
  does not understand.
"""

import re
from functools import lru_cache
from typing import NamedTuple

import idna

from .encoded_words import decode_words


class Address(NamedTuple):
    """One entry of an address list, raw octets; see the module for group markers."""

    name: bytes | None
    route: bytes | None
    mailbox: bytes | None
    host: bytes | None

    @property
    def display_name(self) -> str:
        """The name as text, encoded words decoded; '' if there is none."""
        return decode_words(self.name) if self.name else ""

    @property
    def addr(self) -> str:
        """`mailbox@host` as text; '' for a group marker or an address without a host."""
        if not self.mailbox or not self.host:
            return ""
        return (self.mailbox + b"@" + self.host).decode("utf-8", "replace")


#: Tokens of one list that are read: 1 000 addresses have a tenth of it.
MAX_TOKENS = 20_000

_ATEXT = rb"A-Za-z0-9!#$%&'*+/=?^_`{|}~\-"
#: One plain mailbox with or without a name: nearly all fields of real mail.
match_simple = re.compile(
    rb'(?:(?:"([^"\\\x00-\x1f\x7f-\xff]*)"[ \t]{0,9}|([' + _ATEXT + rb" .]*))<)?([" + _ATEXT + rb".]+)@([A-Za-z0-9.-]+)(>?)"
).fullmatch

_token = re.compile(rb'[ \t\r\n]+|,+|"[^"\\]*(?:\\.[^"\\]*)*"?|\[[^\]\r\n]*\]?|[^\x00-\x20"(),:;<>@\[\\]+|.', re.DOTALL).match
_quoted_pair = re.compile(rb"\\(.)", re.DOTALL)
_paren = re.compile(rb"[()\\]")
_newlines = re.compile(rb"\r?\n")


def _comment_end(value: bytes, start: int) -> int:
    """Offset after the comment that opens at `start`; an unclosed one runs to the end (RFC 5322 section 3.2.2)."""
    depth = 0
    position = start
    while True:
        found = _paren.search(value, position)
        if found is None:
            return len(value)
        position = found.end()
        sign = found.group()
        if sign == b"(":
            depth += 1
        elif sign == b")":
            depth -= 1
            if depth == 0:
                return position
        else:
            position += 1


def _unquote(word: bytes) -> bytes:
    word = word[1:-1] if len(word) > 1 and word.endswith(b'"') else word[1:]
    if b"\\" in word:
        word = _quoted_pair.sub(rb"\1", word)
    return _newlines.sub(b"", word) if b"\n" in word else word


class _ListReader:
    """State machine over the tokens of one address list."""

    def __init__(self, limit: int) -> None:
        self.entries: list[Address] = []
        self.limit = limit
        self.in_group = False
        self.reset()

    def reset(self) -> None:
        self.local: list[bytes] = []
        self.domain: list[bytes] = []
        self.route: list[bytes] = []
        self.name: bytes | None = None
        self.comment: bytes | None = None
        self.in_angle = self.in_domain = self.in_route = self.angle_done = False

    def phrase(self) -> bytes:
        return b"".join(self.local).strip()

    def flush(self) -> None:
        """Emit the address collected so far, if there is one."""
        if self.in_angle or self.angle_done:
            mailbox = b"".join(word for word in self.local if word != b" ")
        elif self.in_domain:
            # Words before the last are a name without angle brackets: `John Doe j@example.com`.
            words = self.local
            cut = 0
            for index in range(len(words) - 2, 0, -1):
                if words[index] == b" " and words[index + 1][:1] != b"." and words[index - 1][-1:] != b".":
                    cut = index + 1
                    break
            if cut and words[-1] != b" ":
                self.name = b"".join(words[:cut]).strip() or None
                words = words[cut:]
            mailbox = b"".join(word for word in words if word != b" ")
        else:
            mailbox = self.phrase()
        host = b"".join(word for word in self.domain if word != b" ")
        if mailbox or host or self.name:
            route = b"".join(self.route) or None
            self.entries.append(Address(self.name or self.comment or None, route, mailbox, host))
        self.reset()

    def word(self, text: bytes) -> None:
        if self.angle_done:
            return
        if self.in_route:
            self.route.append(text)
        elif self.in_domain:
            self.domain.append(text)
        else:
            self.local.append(text)

    def gap(self) -> None:
        target = self.domain if self.in_domain else self.local
        if target and target[-1] != b" ":
            target.append(b" ")

    def special(self, sign: bytes) -> None:
        if sign == b",":
            if self.in_route:
                self.route.append(sign)
            else:
                self.flush()
        elif sign == b"<":
            if self.angle_done:
                self.flush()
            if not self.in_angle:
                self.name = b"".join([*self.local, *([b"@", *self.domain] if self.in_domain else [])]).strip() or None
                self.local, self.domain, self.in_domain, self.in_angle = [], [], False, True
        elif sign == b">":
            if self.in_angle:
                self.in_angle, self.in_route, self.angle_done = False, False, True
        elif sign == b"@":
            self.at()
        elif sign == b":":
            self.colon()
        elif sign == b";":
            self.flush()
            if self.in_group:
                self.in_group = False
                self.entries.append(Address(None, None, None, None))
        elif sign != b"\\" and sign > b"\x20":
            self.word(sign)

    def at(self) -> None:
        if self.angle_done:
            return
        if self.in_route:
            self.route.append(b"@")
        elif self.in_angle and not self.in_domain and not self.phrase():
            self.in_route = True
            self.route.append(b"@")
        elif self.in_domain:
            self.local += [b"@", *self.domain]
            self.domain = []
        else:
            self.in_domain = True

    def colon(self) -> None:
        if self.in_route:
            self.in_route = False
        elif self.in_angle or self.in_domain:
            self.word(b":")
        elif not self.angle_done and not self.in_group:
            self.entries.append(Address(None, None, self.phrase(), None))
            self.in_group = True
            self.reset()


def parse_addresses(value: bytes, limit: int = 1000) -> list[Address]:
    """Entries of an address list field's value, at most about `limit`, in order."""
    found = match_simple(value)
    if found is not None:
        quoted, name, mailbox, host, close = found.groups()
        if (quoted is None and name is None) == (not close):
            return [Address((quoted or (name or b"").strip()) or None, None, mailbox, host)]
    reader = _ListReader(limit)
    position = 0
    for _ in range(MAX_TOKENS):
        token = _token(value, position)
        if token is None:
            reader.flush()
            break
        start, position = token.span()
        text = token.group()
        first = text[:1]
        if first in b" \t\r\n":
            reader.gap()
        elif first == b"(":
            position = _comment_end(value, start)
            if reader.comment is None:
                reader.comment = _quoted_pair.sub(rb"\1", value[start + 1 : position].removesuffix(b")")).strip()
            reader.gap()
        elif first == b'"':
            reader.word(_unquote(text))
        elif first in b"<>@,:;\\)":
            reader.special(first)
            if len(reader.entries) >= limit:
                break
        elif text > b"\x20":
            reader.word(text)
    if reader.in_group:
        reader.entries.append(Address(None, None, None, None))
    return reader.entries


_dot_atom = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\U0010ffff-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\U0010ffff-]+)*").fullmatch  # fmt: skip  # noqa: E501
_quoted_local = re.compile(r'"((?:[\x20\x21\x23-\x5b\x5d-\x7e\x80-\U0010ffff]|\\[\x20-\x7e])*)"').fullmatch
_label = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?").fullmatch
_literal = re.compile(r"\[(?:IPv6:[0-9A-Fa-f:.]{2,45}|\d{1,3}(?:\.\d{1,3}){3}|[A-Za-z0-9-]+:[!-Z^-~]+)\]").fullmatch


@lru_cache(4096)
def ascii_domain(domain: str) -> str | None:
    """Lower-case A-label form of a domain (RFC 5890), an address literal as it is, None if it is neither."""
    if domain.startswith("["):
        return domain if _literal(domain) else None
    if not domain.isascii():
        try:
            domain = idna.encode(domain, uts46=True).decode("ascii")
        except (idna.IDNAError, UnicodeError):
            # No valid IDNA2008 name: the caller's address is wrong.
            return None
    if len(domain) > 253:
        return None
    domain = domain.lower()
    return domain if domain and all(map(_label, domain.split("."))) else None


def split_address(addr: str) -> tuple[str, str] | None:
    """(local part unquoted, domain as lower A-label) of an RFC 5321 mailbox, None if it is not one.

    Local parts up to 64 octets (RFC 5321 section 4.5.3.1.1), UTF-8 allowed (RFC 6531).
    """
    local, at, domain = addr.rpartition("@")
    if not at or not local or len(addr) > 1000:
        return None
    if _dot_atom(local) is None:
        quoted = _quoted_local(local)
        if quoted is None:
            return None
        local = re.sub(r"\\(.)", r"\1", quoted.group(1))
        if not local:
            return None
    if len(local.encode("utf-8", "replace")) > 64:
        return None
    host = ascii_domain(domain)
    return None if host is None else (local, host)


def parse_mailbox(text: str) -> tuple[str, str, str] | None:
    """(display name, local part, domain) of one `Name <local@domain>` or bare address, None if it is not one."""
    entries = parse_addresses(text.strip().encode("utf-8", "replace"), 2)
    if len(entries) != 1 or not entries[0].mailbox or not entries[0].host:
        return None
    entry = entries[0]
    local = (entry.mailbox or b"").decode("utf-8", "replace")
    host = ascii_domain((entry.host or b"").decode("utf-8", "replace"))
    return None if host is None else (entry.display_name, local, host)
